package boot

import (
	"bytes"
	"cmp"
	"embed"
	"fmt"
	"strings"
	"text/template"

	"github.com/pureboot/pureboot/central/lifecycle"
)

//go:embed templates
var files embed.FS

var templates = template.Must(template.New("").Funcs(template.FuncMap{"display": display}).ParseFS(files, "templates/*"))

// page is what the templates show. Its texts pass through display; its URLs and command lines were checked.
type page struct {
	Name    string // of the machine, for a person
	State   string
	Message string
	Again   string // URL that answers with the node's script
	Started string // URL that the script reports to; empty when it has nothing to report
	Once    bool   // it carries out an order for one boot, so it goes on only once that is noted, else to the local disk
	Install plan
}

// Script returns the node's iPXE script. The script is always good to send: an error says why it is the one that boots
// the local disk, and is there for the log.
func Script(in Input) ([]byte, error) {
	if in.Boot == nil {
		return Safe(cmp.Or(in.Reason, errUnknown.Error())), nil
	}
	b, err := in.script(ipxe)
	if err != nil {
		return Safe(err.Error()), err
	}
	return b, nil
}

// Safe returns an iPXE script that shows the reason, waits long enough for a person to read it, and boots the local
// disk. It cannot fail.
func Safe(reason string) []byte { return execute("safe.ipxe", page{Message: reason}) }

// Bootstrap returns the iPXE script that finds the network card with a way to the agent and asks for the node's own
// script. server is as Input.Server.
func Bootstrap(server string) []byte {
	base, err := Input{Server: server}.base()
	if err != nil {
		return Safe(err.Error())
	}
	var query []string
	for _, fact := range facts {
		query = append(query, fact.name+"="+fact.setting)
	}
	return execute("bootstrap.ipxe", map[string]any{
		"Server": base,
		"Query":  strings.Join(query, "&"),
		"Cards":  []string{"net0", "net1", "net2", "net3", "net4", "net5", "net6", "net7"},
	})
}

// dialect is the firmware a script is for: the ending of its templates.
type dialect string

const (
	ipxe dialect = ".ipxe"
	grub dialect = ".cfg"
)

// script decides which script the node gets and makes it.
func (in Input) script(d dialect) ([]byte, error) {
	install, err := in.Install()
	if err != nil {
		return nil, err
	}
	again, err := in.again()
	if err != nil {
		return nil, err
	}
	serve, message := install.Serve(in.Boot.Workflow != nil, in.Now)
	n := in.Boot.Node
	p := page{Name: cmp.Or(n.Hostname, n.MACAddress, in.MAC), State: n.State, Message: message, Again: again}
	token := in.Token
	if p.Once = install.Order(in.Boot.Workflow != nil) != ""; p.Once {
		token = in.OrderToken
	}
	if p.Once || serve == lifecycle.ServeInstaller {
		if p.Started, err = in.started(token, d); err != nil {
			return nil, err
		}
	}
	switch serve {
	case lifecycle.ServeOnce:
		if in.Boot.NextWorkflow == nil {
			return nil, errNoOnce
		}
		in = in.once()
	case lifecycle.ServeInstaller:
	default:
		return execute(string(serve)+string(d), p), nil
	}
	if p.Install, err = in.plan(d); err != nil {
		return nil, fmt.Errorf("workflow %s: %w", in.Boot.Workflow.Name, err)
	}
	return execute(p.Install.Method+string(d), p), nil
}

// once returns the input of a boot by the workflow that was ordered for it. That is no installation: the workflow has
// no token, hence no template and nothing to report.
func (in Input) once() Input {
	b := *in.Boot
	b.Workflow, b.Params = b.NextWorkflow, b.NextParams
	in.Boot, in.Token = &b, ""
	return in
}

// Serves names what the script of a machine whose record is known does: local, wait, installer or once.
func (in Input) Serves() string {
	install, err := in.Install()
	if err != nil {
		return "safe"
	}
	serve, _ := install.Serve(in.Boot.Workflow != nil, in.Now)
	return string(serve)
}

// started returns the URL that notes the begin of what a script does.
func (in Input) started(token string, d dialect) (string, error) {
	at, err := in.place("boot")
	if err != nil {
		return "", err
	}
	query, err := tokenQuery(token)
	if err != nil {
		return "", err
	}
	at += "/started" + query
	if d == grub {
		return grubFile(at)
	}
	return at, nil
}

// execute runs a template. The templates are ours and their tests run each of them, so one that fails is a bug.
func execute(name string, data any) []byte {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name, data); err != nil {
		panic(err)
	}
	return append(bytes.TrimRight(b.Bytes(), "\n"), '\n')
}
