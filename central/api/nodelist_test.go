package api

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

// pages walks a list of nodes three at a time, and returns the last part of each primary MAC address. After each page
// it calls meanwhile with the number of those before.
func (c *central) pages(path string, meanwhile func(page int)) (macs []string, total int) {
	c.t.Helper()
	cursor := ""
	for page := 0; ; page++ {
		got := must[store.Page[wire.Node]](c, 200, "GET", path+"&limit=3&cursor="+url.QueryEscape(cursor), c.viewer, nil)
		for _, n := range got.Items {
			macs = append(macs, n.MACAddress[15:])
		}
		if total, cursor = got.Total, got.NextCursor; cursor == "" {
			return macs, total
		}
		meanwhile(page)
	}
}

func TestNodesAreFoundAndSorted(t *testing.T) { onBoth(t, testNodesAreFoundAndSorted) }

func testNodesAreFoundAndSorted(t *testing.T, c *central) {
	region := c.site("region")
	site := c.site("berlin", object{"parent_id": region.ID})
	agent := c.enrol(site)
	hall := must[store.Group](c, 201, "POST", "/api/v1/groups", c.admin, object{"name": "hall"})
	rack := must[store.Group](c, 201, "POST", "/api/v1/groups", c.admin, object{"name": "rack", "parent_id": hall.ID})
	make := func(last int, more object) {
		more["mac_address"] = fmt.Sprintf("52:54:00:00:00:%02x", last)
		must[wire.Node](c, 201, "POST", "/api/v1/nodes", c.operator, more)
	}
	make(5, object{"hostname": "web1", "tags": []string{"web", "a,b"}, "group_id": rack.ID, "vendor": "ACME 100%"})
	make(3, object{"hostname": "web2", "tags": []string{"web"}, "group_id": hall.ID, "ip_address": "10.0.0.3"})
	make(4, object{"hostname": "db_1", "home_site_id": site.ID, "interfaces": []object{{"mac_address": "52:54:00:aa:00:04"}}})
	make(1, object{"hostname": "db1", "home_site_id": site.ID})
	make(2, object{"serial_number": "X-1", "home_site_id": region.ID, "state": "pending"})
	make(6, object{})
	for _, last := range []string{"04", "01"} { // are seen
		must[wire.Node](c, 200, "POST", wire.PathNodes+"/register", agent, wire.Registration{MACAddress: "52:54:00:00:00:" + last, Model: "seen"})
	}

	still := func(int) {}
	for query, want := range map[string]string{
		"":                                   "01 02 03 04 05 06",
		"sort=-mac_address":                  "06 05 04 03 02 01",
		"sort=created_at":                    "05 03 04 01 02 06",
		"sort=-created_at":                   "06 02 01 04 03 05",
		"group_id=" + hall.ID.String():       "03",
		"home_site_id=" + region.ID.String(): "02",
		"descendants=true&group_id=" + hall.ID.String():                         "03 05",
		"descendants=true&home_site_id=" + region.ID.String():                   "01 02 04",
		"descendants=true&sort=-created_at&home_site_id=" + region.ID.String():  "02 01 04",
		"descendants=true&sort=-mac_address&home_site_id=" + region.ID.String(): "04 02 01",
		"tag=web":                               "03 05",
		"tag=web&tag=" + url.QueryEscape("a,b"): "05",
		"tag=we":                                "",
		"search=WEB":                            "03 05",
		"search=aa:00":                          "04",
		"search=10.0.0":                         "03",
		"search=x-1":                            "02",
		"search=db_1":                           "04",
		"search=" + url.QueryEscape("100%"):     "05",
		"search=" + url.QueryEscape("' OR 1=1 --"): "",
		"tag=" + url.QueryEscape("' OR ''='"):      "",
		"search=web&state=pending":                 "",
		"mac=52-54-00-AA-00-04":                    "04",
	} {
		macs, total := c.pages("/api/v1/nodes?"+query, still)
		if got := strings.Join(macs, " "); got != want || total != len(macs) {
			t.Errorf("%s: %s of %d, want %s", query, got, total, want)
		}
	}
	for field, of := range map[string]func(wire.Node) string{
		"hostname": func(n wire.Node) string { return n.Hostname },
		"last_seen_at": func(n wire.Node) string {
			if n.LastSeenAt == nil {
				return ""
			}
			return n.LastSeenAt.UTC().Format("2006-01-02T15:04:05.000000")
		},
	} {
		up, _ := c.pages("/api/v1/nodes?sort="+field, still)
		down, _ := c.pages("/api/v1/nodes?sort=-"+field, still)
		slices.Reverse(down)
		if len(up) != 6 || !slices.Equal(up, down) {
			t.Errorf("by %s: %v, and the other way round %v", field, up, down)
		}
		all := must[store.Page[wire.Node]](c, 200, "GET", "/api/v1/nodes?sort="+field, c.viewer, nil)
		if !slices.IsSortedFunc(all.Items, func(a, b wire.Node) int { return strings.Compare(of(a), of(b)) }) {
			t.Errorf("by %s: %v", field, up)
		}
	}

	cursor := must[store.Page[wire.Node]](c, 200, "GET", "/api/v1/nodes?limit=1", c.viewer, nil).NextCursor
	for query, field := range map[string]string{
		"sort=hostname&cursor=" + cursor:     "query.cursor",
		"sort=state":                         "query.sort",
		"search=a%07b":                       "query.search",
		"tag=a%0Ab":                          "query.tag",
		"mac=xyz":                            "query.mac",
		"descendants=perhaps":                "query.descendants",
		"search=" + strings.Repeat("x", 254): "query.search",
		"group_id=rack":                      "query.group_id",
		"colour=red":                         "query.colour",
	} {
		if r := c.do("GET", "/api/v1/nodes?"+query, c.viewer, nil); r.status != 422 || !r.names(t, field) {
			t.Errorf("%s: %d %s", query, r.status, r.body)
		}
	}

	for _, sort := range []string{"hostname", "-created_at", "last_seen_at"} {
		n := 0
		macs, _ := c.pages("/api/v1/nodes?sort="+sort, func(page int) {
			n++
			mac := fmt.Sprintf("00:54:00:00:%02x:%02x", len(sort), 0xa0+n)
			must[wire.Node](c, 201, "POST", "/api/v1/nodes", c.operator, object{"mac_address": mac, "hostname": fmt.Sprintf("m%d", n)})
		})
		for _, last := range []string{"01", "02", "03", "04", "05", "06"} {
			if i := slices.Index(macs, last); i < 0 || slices.Contains(macs[i+1:], last) {
				t.Errorf("by %s while others write: %s is not there once: %v", sort, last, macs)
			}
		}
	}
}
