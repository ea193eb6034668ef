package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// fetcher is the Maven project whose dependencies are the broker.
const fetcher = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>bridge</groupId>
  <artifactId>kafkatest</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>` + Version + `</version></dependency>
  </dependencies>
</project>
`

// fetch returns a folder with the broker's jars. It creates the folder once, whole or not at all.
func fetch(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("kafkatest: fetch: %w", err)
	}
	jars := filepath.Join(cache, "bridge-kafka", Version)
	if _, err := os.Stat(jars); err == nil {
		return jars, nil
	}
	if err := os.MkdirAll(filepath.Dir(jars), 0o750); err != nil {
		return "", fmt.Errorf("kafkatest: fetch: %w", err)
	}
	work, err := os.MkdirTemp(filepath.Dir(jars), "fetching-")
	if err != nil {
		return "", fmt.Errorf("kafkatest: fetch: %w", err)
	}
	defer os.RemoveAll(work)
	pom := filepath.Join(work, "pom.xml")
	if err := os.WriteFile(pom, []byte(fetcher), 0o600); err != nil {
		return "", fmt.Errorf("kafkatest: fetch: %w", err)
	}
	fetched := filepath.Join(work, "jars")
	//nolint:gosec // The folder is ours.
	out, err := exec.CommandContext(ctx, "mvn", "-q", "-B", "-f", pom,
		"org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies",
		"-DincludeScope=runtime", "-DoutputDirectory="+fetched).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("kafkatest: fetch with Maven: %w\n%s", err, out)
	}
	if err := os.Rename(fetched, jars); err != nil && !errors.Is(err, os.ErrExist) {
		return "", fmt.Errorf("kafkatest: fetch: %w", err)
	}
	return jars, nil
}
