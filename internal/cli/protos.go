package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	protofiles "github.com/webhook-bridge/bridge/proto"
)

func protosCommand(env environment) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "protos DIR",
		Short: "Write the protobuf schemas of events and services, for other languages",
		Long: `Write the .proto files of this version of Bridge below DIR: the events, the services, the vendors' webhooks, and the files that
they import. protoc, buf and the compilers of other languages generate code from that folder as it is.

A file that exists with another content is not overwritten; then nothing is written, and the command names each such file.`,
		Example: `  bridge protos proto && mkdir -p gen
  (cd proto && find bridge/event bridge/options bridge/stream buf google -name '*.proto') | xargs protoc -I proto --python_out=gen
  bridge protos --force proto      # after an upgrade of Bridge`,
		Args: between(1, 1, "the folder to write to"),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: func(_ *cobra.Command, args []string) error { return writeProtos(env, args[0], force) },
	}
	cmd.Flags().BoolVar(&force, "force", false, "overwrite files that have another content")
	return cmd
}

// writeProtos writes the schemas below dir and prints the path of each file that it writes.
func writeProtos(env environment, dir string, force bool) error {
	files, err := protoFiles()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // schemas are for everybody
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	missing, different, err := compareProtos(root, files)
	if err != nil {
		return err
	}
	if len(different) > 0 && !force {
		var names strings.Builder
		for _, name := range different {
			fmt.Fprintf(&names, "\n  %s", filepath.Join(dir, filepath.FromSlash(name)))
		}
		return fmt.Errorf("these files have another content, and nothing was written; --force overwrites them:%s", names.String())
	}
	write := slices.Sorted(slices.Values(slices.Concat(missing, different)))
	for _, name := range write {
		if err := writeProto(root, name); err != nil {
			return err
		}
		fmt.Fprintln(env.stdout, filepath.Join(dir, filepath.FromSlash(name)))
	}
	if len(write) == 0 {
		fmt.Fprintf(env.stderr, "%s has all %d files already\n", dir, len(files))
	}
	return nil
}

// protoFiles returns the paths of all schemas.
func protoFiles() (files []string, err error) {
	err = fs.WalkDir(protofiles.Files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			files = append(files, name)
		}
		return err
	})
	return files, err
}

// compareProtos returns the files that root does not have, and those that it has with another content.
func compareProtos(root *os.Root, files []string) (missing, different []string, err error) {
	for _, name := range files {
		want, err := protofiles.Files.ReadFile(name)
		if err != nil {
			return nil, nil, err
		}
		there, err := root.ReadFile(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			missing = append(missing, name)
		case err != nil:
			return nil, nil, err
		case !bytes.Equal(there, want):
			different = append(different, name)
		}
	}
	return missing, different, nil
}

func writeProto(root *os.Root, name string) error {
	data, err := protofiles.Files.ReadFile(name)
	if err != nil {
		return err
	}
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	return root.WriteFile(name, data, 0o644)
}
