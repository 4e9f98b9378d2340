package uplink

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/durable"
)

const configFile = "config.json"

// keptConfig is what outlives the agent of the settings that central sent.
type keptConfig struct {
	Good   wire.SiteConfig `json:"good"` // without a Generation: none yet
	Latest offer           `json:"latest"`
}

// sealed is the form on the disk.
type sealed struct {
	SHA256 string          `json:"sha256"` // of Kept without its white space
	Kept   json.RawMessage `json:"kept"`
}

// loadConfig returns nothing if nothing was kept.
func loadConfig(dir string) (keptConfig, error) {
	var s sealed
	var kept keptConfig
	text, err := os.ReadFile(filepath.Join(dir, configFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return kept, nil
	case err != nil:
		return kept, err
	}
	var body bytes.Buffer
	err = json.Unmarshal(text, &s)
	if err == nil {
		err = json.Compact(&body, s.Kept)
	}
	if err == nil && s.SHA256 != digest(body.Bytes()) {
		err = errors.New("it is not what was written")
	}
	if err == nil {
		err = json.Unmarshal(body.Bytes(), &kept)
	}
	if err != nil {
		return keptConfig{}, fmt.Errorf("%s: %w", configFile, err)
	}
	return kept, nil
}

func saveConfig(dir string, kept keptConfig) error {
	body, err := json.Marshal(kept)
	if err != nil {
		return fmt.Errorf("encode the settings: %w", err)
	}
	text, err := json.MarshalIndent(sealed{digest(body), body}, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the settings: %w", err)
	}
	if err := durable.Replace(filepath.Join(dir, configFile), append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("keep the settings: %w", err)
	}
	return nil
}

func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
