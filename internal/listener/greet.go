package listener

import (
	"encoding/binary"
	"errors"
	"time"

	"golang.org/x/net/http2"
)

const (
	// maxStreams is how many calls of one HTTP/2 connection may be open.
	maxStreams = 1000
	// streamWindow and connectionWindow are what a client may send before the server reads it. By default they would grow with what
	// arrives, without an upper bound that matters here. A message that is read gets a window of its size.
	streamWindow, connectionWindow = 64 << 10, 1 << 20
	// firstCallTimeout is how long a connection may wait with its first call. A client that gets no acknowledgement of its settings may
	// take the connection for dead after a minute.
	firstCallTimeout = 45 * time.Second
	// settingsTimeout is how long the preface of HTTP/2 and the client's settings may take.
	settingsTimeout = 10 * time.Second
	// maxGreeting bounds what a client may send until its first call, with the call's headers.
	maxGreeting = 48 << 10
	// greetingRead is how much of it is read at once.
	greetingRead = 1 << 10
)

// settings are the settings of HTTP/2 of both servers of a [Shared].
var settings = []http2.Setting{
	{ID: http2.SettingMaxFrameSize, Val: maxFrame},
	{ID: http2.SettingMaxConcurrentStreams, Val: maxStreams},
	{ID: http2.SettingMaxHeaderListSize, Val: MaxGRPCHeaders},
	{ID: http2.SettingInitialWindowSize, Val: streamWindow},
}

const frameHeader = 9

// greet follows a connection up to the headers of its first call, and reports whether the call is one of gRPC. It keeps what it has read
// for the server. Many clients wait for the server's settings before they call, so greet sends them; [frames.Write] leaves out the ones
// that the server sends. So each of them is sent and acknowledged once. greet answers pings, because a client may open a connection
// long before it calls.
func (f *frames) greet() (rpc bool, err error) {
	_ = f.SetDeadline(time.Now().Add(settingsTimeout + firstCallTimeout))
	if err := http2.NewFramer(f.Conn, nil).WriteSettings(settings...); err != nil {
		return false, err
	}
	f.first = time.Now().Add(settingsTimeout)
	for f.last == 0 {
		if len(f.greeting) >= maxGreeting {
			f.conn.drop(reasonFlood)
			return false, errRefused
		}
		if err := f.readGreeting(); err != nil {
			return false, err
		}
	}
	f.first, f.deadline = time.Time{}, time.Time{}
	return f.begins, f.SetDeadline(time.Time{})
}

// readGreeting reads once more.
func (f *frames) readGreeting() error {
	have, settled := len(f.greeting), f.settled
	f.greeting = append(f.greeting, make([]byte, greetingRead)...)
	n, err := f.receive(f.greeting[have:])
	f.greeting = f.greeting[:have+n]
	if n > 0 {
		err = nil // it comes again
	}
	if f.settled && !settled {
		f.first = time.Now().Add(firstCallTimeout)
	}
	return errors.Join(err, f.walk())
}

// walk looks at the whole frames that have arrived: it checks the preface, answers pings and drops them.
func (f *frames) walk() error {
	if f.walked == 0 {
		n := min(len(f.greeting), preface)
		if string(f.greeting[:n]) != http2.ClientPreface[:n] {
			f.conn.drop(reasonMalformed)
			return errRefused
		}
		if n < preface {
			return nil
		}
		f.walked = n
	}
	for len(f.greeting)-f.walked >= frameHeader {
		frame := f.greeting[f.walked:]
		size := frameHeader + int(frame[0])<<16 + int(frame[1])<<8 + int(frame[2])
		if len(frame) < size {
			return nil
		}
		if http2.FrameType(frame[3]) != http2.FramePing || size != frameHeader+8 || frame[4]&byte(http2.FlagPingAck) != 0 {
			f.walked += size
			continue
		}
		frame[4] |= byte(http2.FlagPingAck)
		if _, err := f.Conn.Write(frame[:size]); err != nil {
			return err
		}
		f.greeting = append(f.greeting[:f.walked], frame[size:]...)
	}
	return nil
}

// goAway tells a client that never called that it may call on a new connection.
func (f *frames) goAway() {
	_ = f.SetWriteDeadline(time.Now().Add(lingering))
	_ = http2.NewFramer(f.Conn, nil).WriteGoAway(0, http2.ErrCodeNo, nil)
	_ = f.conn.Close()
}

// Write writes what the server sends but for its first frame: see [frames.greet].
func (f *frames) Write(p []byte) (int, error) {
	if f.unsent == 0 {
		return f.Conn.Write(p)
	}
	skipped := f.skip(p)
	if skipped == len(p) {
		return len(p), nil
	}
	n, err := f.Conn.Write(p[skipped:])
	return skipped + n, err
}

// skip returns how much of p belongs to the server's first frame.
func (f *frames) skip(p []byte) int {
	n := 0
	if f.unsent < 0 {
		n = min(len(p), frameHeader-len(f.prefix))
		if f.prefix = append(f.prefix, p[:n]...); len(f.prefix) < frameHeader {
			return n
		}
		f.unsent = int(binary.BigEndian.Uint32(f.prefix) >> 8)
		f.prefix = nil
	}
	rest := min(len(p)-n, f.unsent)
	f.unsent -= rest
	return n + rest
}
