// Command goreleaser reads .goreleaser.yaml as goreleaser does, and ends with an error for a key or a value that goreleaser does not know, and
// for packages whose files differ from those of deploy/packages/nfpm.yaml.
//
//	go run . ROOT
//
// It is goreleaser's own reader alone: the whole program needs many minutes to build.
package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/goreleaser/goreleaser/v2/pkg/config"
	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/files"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "goreleaser:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return errors.New("takes the root of the repository")
	}
	project, err := config.Load(filepath.Join(args[0], ".goreleaser.yaml"))
	if err != nil {
		return err
	}
	packages, err := nfpm.ParseFile(filepath.Join(args[0], "deploy/packages/nfpm.yaml"))
	if err != nil {
		return err
	}
	if len(project.NFPMs) != 1 {
		return errors.New(".goreleaser.yaml: there must be one kind of packages")
	}
	want := list(packages.Contents)
	delete(want, "/usr/bin/bridge  bin/bridge") // goreleaser adds the program itself
	var contents files.Contents
	for _, c := range project.NFPMs[0].Contents {
		contents = append(contents, &files.Content{
			Source: c.Source, Destination: c.Destination, Type: c.Type, Packager: c.Packager, FileInfo: &files.ContentFileInfo{Mode: c.FileInfo.Mode},
		})
	}
	if got := list(contents); !maps.Equal(got, want) {
		return fmt.Errorf("the packages differ: .goreleaser.yaml has\n%q\nand nfpm.yaml has\n%q", lines(got), lines(want))
	}
	fmt.Printf("%s: %d builds, %d archives, %d packages, %d SBOMs, %d signatures, as goreleaser reads them\n",
		project.ProjectName, len(project.Builds), len(project.Archives), len(project.NFPMs), len(project.SBOMs), len(project.Signs))
	return nil
}

// list is the files of a package by place, packager and source, with their kind and rights.
func list(contents files.Contents) map[string]string {
	all := map[string]string{}
	for _, c := range contents {
		mode := os.FileMode(0)
		if c.FileInfo != nil {
			mode = c.FileInfo.Mode
		}
		kind := c.Type
		if kind == "" {
			kind = files.TypeFile
		}
		all[c.Destination+" "+c.Packager+" "+c.Source] = fmt.Sprint(kind, " ", mode)
	}
	return all
}

func lines(all map[string]string) (out []string) {
	for _, place := range slices.Sorted(maps.Keys(all)) {
		out = append(out, place+" "+all[place])
	}
	return out
}
