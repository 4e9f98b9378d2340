package uplink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/pureboot/pureboot/central/wire"
)

// trialTime is how long settings may be in use without a heartbeat that came through.
const trialTime = 5 * time.Minute

// ConfigOptions says what a Config works with.
type ConfigOptions struct {
	Dir string // where the last good settings are kept

	// Local is what the agent works by without any of central's, and goes back to from the first of them.
	Local wire.SiteConfig

	// Apply has the agent work by settings, or returns everything that is wrong with them and changes nothing. It is
	// called by one goroutine at a time.
	Apply func(wire.SiteConfig) error

	Pinned []string // what is reported of the operator's own settings
	Soon   func()   // has a heartbeat come soon
	Log    *slog.Logger
}

// Config follows the settings that central has for the site. New ones are on trial until a heartbeat that reports them
// has come through: an agent that cannot reach central for five minutes goes back to the last good ones, since nobody
// could correct from central what has cut it off. It then leaves those that failed alone until central wants others,
// or somebody asks by a command.
//
// Only good settings, and which were refused, are on the disk: an agent that is restarted during a trial begins with
// the good ones, and is sent the others again. It is safe for concurrent use.
type Config struct {
	opt ConfigOptions

	mu     sync.Mutex
	good   wire.SiteConfig // with them a heartbeat came through; Local at first
	trial  *trial          // nil: good is in use
	latest offer
}

// offer is what central sent last, and what came of it.
type offer struct {
	Config wire.SiteConfig `json:"config"` // without a Generation: nothing was sent
	State  string          `json:"state"`
	Reason string          `json:"reason,omitempty"`
}

// trial is of settings that are in use, but not known to be good.
type trial struct {
	wire.SiteConfig
	told bool // a heartbeat that reports them is under way
	end  *time.Timer
}

// OpenConfig has the agent work by the last good settings, else by Local. Not by both in turn: a cache that was cut to
// Local's size for a moment would be as good as lost. An error means that the agent cannot work by Local.
func OpenConfig(o ConfigOptions) (*Config, error) {
	c := &Config{opt: o, good: o.Local}
	kept, err := loadConfig(o.Dir)
	if err != nil {
		o.Log.Error("settings not readable, working by the agent's own until central sends them again", "err", err)
	}
	c.latest = kept.Latest
	if kept.Good.Generation != "" {
		err := o.Apply(kept.Good)
		if err == nil {
			c.good = kept.Good
			return c, nil
		}
		// Another build had kept them, or the operator has changed what they go with.
		o.Log.Error("the last good settings fail now", "generation", kept.Good.Generation, "err", err)
		c.latest = offer{kept.Good, wire.ConfigFailed, err.Error()}
	}
	return c, o.Apply(o.Local)
}

// Close ends a trial without a verdict.
func (c *Config) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endTrial()
}

// Report says how the agent stands to central's settings.
func (c *Config) Report() wire.ConfigReport {
	c.mu.Lock()
	defer c.mu.Unlock()
	return wire.ConfigReport{
		Generation: c.inUse().Generation, Offered: c.latest.Config.Generation, State: c.latest.State,
		Reason: fmt.Sprintf("%.1000s", c.latest.Reason), // which may repeat what was sent, and must not outgrow a heartbeat
		Pinned: c.opt.Pinned,
	}
}

// Tell is Report for a heartbeat, which proves the settings on trial if it is answered.
func (c *Config) Tell() *wire.ConfigReport {
	c.mu.Lock()
	if c.trial != nil {
		c.trial.told = true
	}
	c.mu.Unlock()
	report := c.Report()
	return &report
}

// Answered takes over what the answer to a heartbeat says: sent is nil if central has nothing new.
func (c *Config) Answered(sent *wire.SiteConfig) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	if t := c.trial; t != nil && t.told {
		c.endTrial()
		c.good = t.SiteConfig
		c.opt.Log.Info("settings proved good", "generation", t.Generation)
		err = c.save()
	}
	if sent == nil || sent.Generation == "" || sent.Generation == c.latest.Config.Generation {
		return err
	}
	return errors.Join(err, c.take(*sent))
}

// Update carries out the command update_config: the agent works by what central sent last, even if that has failed
// before. generation is the one that the command names; empty: whichever it is. The text says what came of it.
func (c *Config) Update(_ context.Context, generation string) (text string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := c.latest.Config
	switch {
	case last.Generation == "":
		return "", errors.New("central has sent this agent no settings yet")
	case last.Generation != c.inUse().Generation:
		if err := c.take(last); err != nil {
			return "", err
		}
	}
	text = "generation " + last.Generation + " is applied"
	if generation != "" && generation != last.Generation {
		text += ", which has replaced " + generation
	}
	return text, nil
}

// take has the agent work by other settings. An error is why it does not. mu is held.
func (c *Config) take(sent wire.SiteConfig) error {
	if sent.Generation == c.good.Generation && c.trial == nil {
		c.latest = offer{sent, wire.ConfigApplied, ""} // central has taken back what was refused
		return c.save()
	}
	if err := c.opt.Apply(sent); err != nil {
		c.latest = offer{sent, wire.ConfigFailed, err.Error()}
		c.opt.Soon()
		return errors.Join(fmt.Errorf("settings of generation %s: %w", sent.Generation, err), c.save())
	}
	c.endTrial() // of others, which these have replaced
	c.latest = offer{sent, wire.ConfigApplied, ""}
	if sent.Generation == c.good.Generation {
		return c.save()
	}
	t := &trial{SiteConfig: sent}
	t.end = time.AfterFunc(trialTime, func() { c.rollBack(t) })
	c.trial = t
	c.opt.Log.Info("settings applied", "generation", sent.Generation)
	c.opt.Soon()
	return nil
}

// rollBack ends a trial that nothing has proved.
func (c *Config) rollBack(t *trial) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.trial != t { // it ended as its time did
		return
	}
	c.endTrial()
	reason := fmt.Sprintf("no heartbeat came through for %v", trialTime)
	if err := c.opt.Apply(c.good); err != nil {
		reason += "; nor can the agent go back: " + err.Error()
		c.good = t.SiteConfig // which is what it still works by
	}
	c.latest = offer{t.SiteConfig, wire.ConfigRolledBack, reason}
	c.opt.Log.Warn("settings rolled back", "generation", t.Generation, "to", c.good.Generation, "reason", reason)
	if err := c.save(); err != nil {
		c.opt.Log.Error("settings not kept", "err", err)
	}
}

// inUse is what the agent works by. mu is held.
func (c *Config) inUse() wire.SiteConfig {
	if c.trial != nil {
		return c.trial.SiteConfig
	}
	return c.good
}

// endTrial leaves the settings as they are. mu is held.
func (c *Config) endTrial() {
	if c.trial != nil {
		c.trial.end.Stop()
		c.trial = nil
	}
}

// save keeps what is good and what was offered last. mu is held.
func (c *Config) save() error {
	return saveConfig(c.opt.Dir, keptConfig{c.good, c.latest})
}
