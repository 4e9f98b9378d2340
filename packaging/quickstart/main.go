// Command quickstart runs central and one agent on loopback, so that somebody who has just found PureBoot can look at
// both at work: `make run`. It keeps all it makes in one folder and finds it there the next time.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

func main() {
	dir := flag.String("dir", "var", "folder for all data, configuration and logs")
	central := flag.String("central", "127.0.0.1:8443", "address of central")
	http := flag.String("http", "127.0.0.1:8080", "address of the agent's HTTP")
	tftp := flag.String("tftp", "127.0.0.1:6969", "address of the agent's TFTP")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *dir, listen{Central: *central, HTTP: *http, TFTP: *tftp})
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// run starts both programs, seeds central, and waits for ctx or for a program that ends.
func run(ctx context.Context, dir string, at listen) (err error) {
	p, err := place(dir, at)
	if err != nil {
		return err
	}
	told := ctx // ends when a person says so
	ctx, fail := context.WithCancelCause(told)
	defer fail(nil)

	if err := p.once(ctx, "pureboot-central", "init", "--config", p.centralConfig, "--token-file", p.tokenFile); err != nil {
		return err
	}
	central, err := p.start(ctx, fail, "central", "pureboot-central", "serve", "--config", p.centralConfig)
	if err != nil {
		return err
	}
	defer func() { err = stopAll(err, central) }()
	api, err := dial(p)
	if err != nil {
		return err
	}
	if err := api.waitReady(ctx); err != nil {
		return err
	}
	demo, err := api.seed(ctx)
	if err != nil {
		return fmt.Errorf("seed central: %w", err)
	}
	if err := p.enrol(ctx, api, demo.Site); err != nil {
		return err
	}
	agent, err := p.start(ctx, fail, "agent", "pureboot-agent", "start", "--config", p.agentConfig)
	if err != nil {
		return err
	}
	defer func() { err = stopAll(err, agent) }()
	if err := api.waitOnline(ctx, demo.Site); err != nil {
		return err
	}
	p.tell(demo, agent.addresses)
	<-ctx.Done()
	fmt.Println("\nstopping")
	if told.Err() == nil {
		return context.Cause(ctx) // a program ended by itself
	}
	return nil
}

// tell prints what a person can do now.
func (p *paths) tell(d demo, agent map[string]string) {
	http, tftp, pa := "http://"+agent["http"], agent["tftp"], filepath.Join(p.bin, "pureboot-agent")
	fmt.Printf(`
PureBoot runs. Central and one agent serve on loopback; Ctrl-C stops both.

  central        %s   (its CA: %s)
  admin token    %s
  agent          %s and tftp://%s
  site           demo, online
  logs           %s

What the machine %s would be told to boot:
  curl %s/boot/%s

A bootloader by TFTP, as firmware fetches it:
  curl -o /dev/null -w '%%{size_download} bytes\n' tftp://%s/%s

The machine's record at central, over REST and by the command line:
  curl --cacert %s -H "Authorization: Bearer $(cat %s)" '%s/api/v1/nodes/%s'
  %s node show %s --config %s --token-file %s

What the machine was sent so far, and how the agent is doing:
  %s trace %s --config %s
  %s status --config %s
`, p.centralURL, p.ca, p.tokenFile, http, tftp, filepath.Join(p.dir, "*.log"),
		demoMAC, http, demoMAC, tftp, d.Bootloader,
		p.ca, p.tokenFile, p.centralURL, d.Node,
		filepath.Join(p.bin, "pureboot-central"), demoMAC, p.centralConfig, p.tokenFile,
		pa, demoMAC, p.agentConfig, pa, p.agentConfig)
}
