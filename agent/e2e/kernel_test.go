package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// envCache names the folder in which Debian's kernel is kept between runs, 400 MB; else it is in the user's cache.
const envCache = "PUREBOOT_E2E_CACHE"

// fetchKernel returns the folder with the contents of Debian's current kernel package. It installs nothing.
func fetchKernel() (string, error) {
	cache := os.Getenv(envCache)
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("%w: set %s", err, envCache)
		}
		cache = filepath.Join(user, "pureboot-e2e")
	}
	depends, err := output("", "apt-cache", "depends", "linux-image-amd64")
	if err != nil {
		return "", err
	}
	found := regexp.MustCompile(`Depends: (linux-image-\S+)`).FindStringSubmatch(depends)
	if found == nil {
		return "", fmt.Errorf("apt knows no linux-image-amd64: apt-get update")
	}
	dir := filepath.Join(cache, found[1])
	if isFile(dir) {
		return dir, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp(cache, ".fetch-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	if _, err := output(tmp, "apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", found[1]); err != nil {
		return "", err
	}
	debs, err := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if err != nil {
		return "", err
	}
	if len(debs) != 1 {
		return "", fmt.Errorf("apt-get download left %d packages, not one", len(debs))
	}
	unpacked := filepath.Join(tmp, "unpacked")
	if _, err := output(tmp, "dpkg-deb", "-x", debs[0], unpacked); err != nil {
		return "", err
	}
	if err := os.Rename(unpacked, dir); err != nil && !isFile(dir) {
		return "", err
	}
	return dir, nil
}

// buildPrograms compiles both programs of this tree into dir.
func buildPrograms(dir string) error {
	cmd := exec.Command("go", "build", "-o", dir, "./central/cmd/pureboot-central", "./agent/cmd/pureboot-agent")
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the programs: %w: %s", err, out)
	}
	return nil
}

// output runs a command in dir and returns what it printed. Its error holds what it complained of.
func output(dir, name string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, stderr.Bytes())
	}
	return stdout.String(), nil
}
