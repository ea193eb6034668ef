// Command bridge turns vendors' webhooks into one durable stream of typed, canonical events.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// exitInterrupted is the exit code after a second signal: the shutdown was not waited for.
const exitInterrupted = 130

// sameSignal is how long signals after the first one are taken for the same one: timeout and process managers signal the
// process and then its group, which it is in.
const sameSignal = time.Second

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go obey(signals, cancel, func() { os.Exit(exitInterrupted) })
	os.Exit(run(ctx, os.Args[1:], environment{
		lookup: os.LookupEnv,
		stdin:  os.Stdin,
		stdout: os.Stdout,
		stderr: os.Stderr,
	}))
}

// obey calls stop, for an orderly end, at the first signal, and abort at another one that comes [sameSignal] later or more.
func obey(signals <-chan os.Signal, stop, abort func()) {
	<-signals
	first := time.Now()
	stop()
	for range signals {
		if time.Since(first) >= sameSignal {
			abort()
			return
		}
	}
}
