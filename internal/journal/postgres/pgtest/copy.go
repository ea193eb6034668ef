package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"
)

// copyPrimary makes and starts a standby, from a copy of the primary's files. It uses the server's own functions for backups: the program
// pg_basebackup is not in every installation.
func (c *Cluster) copyPrimary(ctx context.Context, s *Server) error {
	label, err := c.copyFiles(ctx, s)
	if err != nil {
		return err
	}
	for name, text := range map[string]string{
		"backup_label":         label,
		"standby.signal":       "",
		"postgresql.auto.conf": fmt.Sprintf("primary_conninfo = '%s'\n", c.follow(s.Name)),
	} {
		path := filepath.Join(s.data, name)
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), c.in.own(path)); err != nil {
			return err
		}
	}
	return s.start()
}

// copyFiles copies the primary's data while it runs, and returns the label of the backup.
func (c *Cluster) copyFiles(ctx context.Context, s *Server) (label string, err error) {
	conn, err := pgx.Connect(ctx, c.primary.URL("postgres", "postgres"))
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(ctx) }()
	// The backup ends with its session, so both calls are on one.
	if _, err := conn.Exec(ctx, "select pg_backup_start($1, true)", s.Name); err != nil {
		return "", err
	}
	if err := c.in.copyTree(c.primary.data, s.data); err != nil {
		return "", err
	}
	err = conn.QueryRow(ctx, "select labelfile from pg_backup_stop(false)").Scan(&label)
	return label, err
}

// leftOut are the parts of a server's data that a copy begins without: what they hold belongs to the running server.
func leftOut(path string) bool {
	switch top, rest, _ := strings.Cut(path, string(filepath.Separator)); top {
	case "postmaster.pid", "postmaster.opts":
		return true
	case "pg_wal", "pg_replslot", "pg_stat_tmp", "pg_notify", "pg_dynshmem":
		return rest != "" && rest != "archive_status" && rest != "summaries"
	}
	return false
}

// copyTree copies a folder of data. Files that vanish meanwhile are left out.
func (i *installation) copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(from, path)
		switch {
		case err != nil:
			return err
		case leftOut(relative) && entry.IsDir():
			return fs.SkipDir
		case leftOut(relative):
			return nil
		}
		target := filepath.Join(to, relative)
		if entry.IsDir() {
			err = os.Mkdir(target, 0o700)
		} else {
			err = copyFile(path, target)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return errors.Join(err, i.own(target))
	})
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
