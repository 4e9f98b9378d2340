package gateway

import (
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/pureboot/pureboot/agent/boot"
	"github.com/pureboot/pureboot/central/wire"
)

// maxTemplate bounds a template, in bytes.
const maxTemplate = 1 << 20

// render is GET /render/{mac}/{path...}: a template with the node's values in it. It needs the node's token, and is
// handed out only while the node is pending or installing, since it may hold what nobody else should read.
func (g *Gateway) render(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodGet, http.MethodHead) {
		return
	}
	rec, ok := g.byMAC(w, r)
	if !ok {
		return
	}
	if !rec.Install().Renders() {
		problem(w, http.StatusForbidden, "Templates are rendered only while the node is pending or installing.")
		return
	}
	category, name, _ := strings.Cut(r.PathValue("path"), "/")
	if category != wire.Templates && category != wire.Scripts {
		problem(w, http.StatusNotFound, "Only templates and scripts are rendered.")
		return
	}
	file, err := g.Files.Open(r.Context(), category, name)
	if err != nil {
		g.contentError(w, r, err)
		return
	}
	defer file.Close()
	if file.Size() > maxTemplate {
		problem(w, http.StatusUnprocessableEntity, "The template is larger than 1 MiB.")
		return
	}
	text, err := io.ReadAll(file)
	if err != nil {
		g.contentError(w, r, err)
		return
	}
	out, err := boot.Render(text, boot.Input{
		Server: serverURL(r), MAC: r.PathValue("mac"), Boot: &rec.Boot, Token: token(r), Query: r.URL.Query(), Now: time.Now(),
	})
	if err != nil {
		g.log(r).Error("template not rendered", "node", rec.Node.ID, "path", name, "err", err)
		problem(w, http.StatusUnprocessableEntity, "The template cannot be rendered for this node: "+err.Error())
		return
	}
	setCacheStatus(w, contentStatus(file.Status, file.Tier()))
	sendScript(w, r, out)
}
