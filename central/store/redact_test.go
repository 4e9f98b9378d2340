package store

import "testing"

func TestTheAuditHoldsNoSecrets(t *testing.T) {
	for _, test := range []struct {
		of   any
		want string
	}{
		{map[string]any{"name": "x", "n": 12345678901234567}, `{"n":12345678901234567,"name":"x"}`},
		{
			map[string]any{"params": map[string]string{"root_password": "hunter2", "RootPassword": "", "wifi.psk": "x", "timezone": "UTC"}},
			`{"params":{"RootPassword":"","root_password":"(redacted)","timezone":"UTC","wifi.psk":"(redacted)"}}`,
		},
		{map[string]any{"API-KEY": []string{"a", "b"}, "token": 5, "once": true}, `{"API-KEY":["(redacted)","(redacted)"],"once":true,"token":5}`},
		{
			map[string]string{"cmdline": "inst.repo=http://me:hunter2@repo/x quiet", "boot_url": "http://repo/x@y:z@"},
			`{"boot_url":"http://repo/x@y:z@","cmdline":"inst.repo=http://me:(redacted)@repo/x quiet"}`,
		},
		{
			map[string]string{"cmdline": "quiet passwd/root-password=hunter2 rd.TOKEN=x=y ip=dhcp", "boot_url": "http://x/a?token=b&c=d", "comment": "a secret one"},
			`{"boot_url":"http://x/a?token=(redacted)\u0026c=d","cmdline":"quiet passwd/root-password=(redacted) rd.TOKEN=(redacted) ip=dhcp","comment":"a secret one"}`,
		},
		{map[string]any{"credential": map[string]any{"kind": "x", "deep": []any{map[string]any{"secret": "s"}}}}, `{"credential":{"deep":[{"secret":"(redacted)"}],"kind":"x"}}`},
	} {
		got, err := image(test.of)
		if err != nil || string(got) != test.want {
			t.Errorf("%v became %s, %v; want %s", test.of, got, err, test.want)
		}
	}
}
