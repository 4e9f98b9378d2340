package httpcache

import "testing"

// TestVariants is RFC 9111 sections 2 and 4.1, and RFC 9110 section 12.5.5.
func TestVariants(t *testing.T) {
	const fresh = "|Cache-Control: max-age=60"
	same := func(rule, vary, first, second string) story {
		return story{rule, []turn{{"GET" + first, "200|Vary: " + vary + fresh, "200|#0"}, {"GET" + second, "", "200|#0"}, {"GET" + first, "", "200|#0"}}}
	}
	other := func(rule, vary, first, second string) story {
		return story{rule, []turn{
			{"GET" + first, "200|Vary: " + vary + fresh, "200|#0"},
			{"GET" + second, "200|Vary: " + vary + fresh, "200|#1|Cache-Status~fwd=vary-miss"},
			{"GET" + first, "", "200|#0"},
			{"GET" + second, "", "200|#1"},
		}}
	}
	never := func(rule, vary string) story {
		return story{rule, []turn{{"GET|Accept: a", "200|Vary: " + vary + fresh, "200|#0"}, {"GET|Accept: a", "200|Vary: " + vary + fresh, "200|#1"}}}
	}
	tell(t, []story{
		same("4.1: the same", "Accept", "|Accept: a", "|Accept: a"),
		other("4.1: another", "Accept", "|Accept: a", "|Accept: b"),
		other("4.1: one that is absent", "Accept", "|Accept: a", ""),
		other("4.1: one that was absent", "Accept", "", "|Accept: a"),
		same("4.1: absent from both", "Accept", "", "|X: y"),
		other("4.1: an empty one is not absent", "Accept", "|Accept:", ""),
		same("4.1: a name in any case", "aCCEPT", "|Accept: a", "|Accept: a"),
		other("4.1: a name in any case, another value", "aCCEPT", "|Accept: a", "|Accept: b"),
		other("4.1: two names, the second", "Accept, X-B", "|Accept: a|X-B: 1", "|Accept: a|X-B: 2"),
		other("4.1: two lines, the second", "Accept|Vary: X-B", "|Accept: a|X-B: 1", "|Accept: a|X-B: 2"),
		same("4.1: names with empty members between", "Accept,, X-B ,", "|Accept: a", "|Accept: a"),
		never("4.1: *", "*"),
		never("4.1: * in a list", "Accept, *"),
		never("4.1: * on another line", "Accept|Vary: *"),
		never("12.5.5 of 9110: what is no name", "Accept Encoding"),
		same("4.1: lists, but for their whitespace", "Accept-Encoding", "|Accept-Encoding: gzip, br", "|Accept-Encoding: gzip ,br"),
		same("4.1: lists, but for their lines", "Accept-Language", "|Accept-Language: de, en", "|Accept-Language: de|Accept-Language: en"),
		other("4.1: lists in another order", "Accept-Language", "|Accept-Language: de, en", "|Accept-Language: en, de"),
		other("4.1: the case of a value that nobody knows", "X-A", "|X-A: a", "|X-A: A"),
		other("4.1: whitespace within a value that nobody knows", "X-A", "|X-A: a b", "|X-A: a  b"),
		other("4.1: Host, though the origin is always told its own", "Host", "|Host: a.example", "|Host: b.example"),
		same("4.1: the same Host", "Host", "|Host: a.example", "|Host: a.example"),
		other("4.1: User-Agent", "User-Agent", "|User-Agent: iPXE/1.21", "|User-Agent: GRUB"),
		{"4.1: HEAD selects as GET does", []turn{
			{"GET|Accept: a", "200|Vary: Accept" + fresh, "200|#0"},
			{"HEAD|Accept: a", "", "200"},
			{"HEAD|Accept: b", "200|Vary: Accept|X: b" + fresh, "200|X: b"},
			{"GET|Accept: a", "", "200|#0"},
		}},
		{"4.1: Vary of a later response counts for what is stored then", []turn{
			{"GET|Accept: a", "200|Cache-Control: max-age=0", "200|#0"},
			{"GET|Accept: a", "200|Vary: Accept" + fresh, "200|#1"},
			{"GET|Accept: b", "200|Vary: Accept" + fresh, "200|#2"},
			{"GET|Accept: a", "", "200|#1"},
		}},
		{"4.1: cookies are not kept as what selects", []turn{
			{"GET|Cookie: a=b", "200|Vary: Cookie" + fresh, "200|#0"},
			{"GET|Cookie: a=b", "200|Vary: Cookie" + fresh, "200|#1"},
			{"GET", "200|Vary: Cookie" + fresh, "200|#2"},
			{"GET", "", "200|#2"},
		}},
		{"7.6.1 of 9110: a field that Connection lists selects nothing", []turn{
			{"GET|Accept: a|Connection: Accept", "200|?!Accept|Vary: Accept" + fresh, "200|#0"},
			{"GET", "", "200|#0"},
			{"GET|Accept: a", "200|Vary: Accept" + fresh, "200|#2"},
		}},
		{"4.1: what is said of a client's own connection reaches no origin, nor another client", []turn{
			{"GET|X-Forwarded-Host: evil.example|X-Forwarded-Proto: x|Forwarded: host=evil.example", "200|?!X-Forwarded-Host|?!X-Forwarded-Proto|?!Forwarded" + fresh, "200|#0"},
			{"POST|X-Forwarded-Host: evil.example|X-Forwarded-Port: 1|X-Real-Ip: ::1", "200|?!X-Forwarded-Host|?!X-Forwarded-Port|?!X-Real-Ip", "200|#1"},
		}},

		{"2: the query is part of the key", []turn{
			{"GET ?a", "200" + fresh, "200|#0"},
			{"GET ?b", "200" + fresh, "200|#1"},
			{"GET", "200" + fresh, "200|#2"},
			{"GET ?", "200" + fresh, "200|#3"},
			{"GET ?a", "", "200|#0"},
			{"GET ?b", "", "200|#1"},
			{"GET", "", "200|#2"},
			{"GET ?", "", "200|#3"},
		}},
		{"2: so is the order in it", []turn{{"GET ?a&b", "200" + fresh, "200|#0"}, {"GET ?b&a", "200" + fresh, "200|#1"}}},
		{"4.2.3 of 9110: escapes that mean nothing do not count", []turn{
			{"GET /%7ea?%41=%2f", "200" + fresh, "200|#0"}, {"GET /~a?A=%2F", "", "200|#0"}, {"GET /%7Ea?A=/", "200" + fresh, "200|#2"},
		}},
		{"4.2.3 of 9110: escapes that mean something do", []turn{
			{"GET /a%2Fb", "200" + fresh, "200|#0"},
			{"GET /a/b", "200" + fresh, "200|#1"},
			{"GET /a%252Fb", "200" + fresh, "200|#2"},
			{"GET /a%2Fb", "", "200|#0"},
			{"GET /a/b", "", "200|#1"},
		}},
		{"4.2.3 of 9110: plus is no space", []turn{
			{"GET ?a+b", "200" + fresh, "200|#0"}, {"GET ?a%20b", "200" + fresh, "200|#1"}, {"GET ?a%2Bb", "200" + fresh, "200|#2"}, {"GET ?a+b", "", "200|#0"},
		}},
		{"4.2.3 of 9110: case of a path counts", []turn{{"GET /a", "200" + fresh, "200|#0"}, {"GET /A", "200" + fresh, "200|#1"}}},
		{"2: doubled slashes count", []turn{
			{"GET /a", "200" + fresh, "200|#0"},
			{"GET //a", "200" + fresh, "200|#1"},
			{"GET /a/", "200" + fresh, "200|#2"},
			{"GET /a//", "200" + fresh, "200|#3"},
			{"GET //a", "", "200|#1"},
			{"GET /a", "", "200|#0"},
			{"GET /a//", "", "200|#3"},
		}},
		{"2: a path with a semicolon is another one", []turn{{"GET /a", "200" + fresh, "200|#0"}, {"GET /a;v=1", "200" + fresh, "200|#1"}, {"GET /a", "", "200|#0"}}},
		{"2: what is like the mark of a variant is none", []turn{
			{"GET /a", "200" + fresh, "200|#0"}, {"GET /a%5E0123456789abcdef", "200" + fresh, "200|#1"}, {"GET /a", "", "200|#0"}, {"GET /a%5e0123456789abcdef", "", "200|#1"},
		}},
		{"17.4 of 9110: dot segments are refused, however they are written", []turn{
			{"GET /%2e%2e/x", "", "400"},
			{"GET /.%2E/x", "", "400"},
			{"GET /%2e/x", "", "400"},
			{"GET /a%2f..%2fx", "", "400"},
			{"GET /..;/x", "", "400"},
			{"GET /..%3bv=1/x", "", "400"},
			{"GET /a%5c..%5cx", "", "400"},
			{"GET /%00", "", "400"},
			{"GET /a%0d%0ab", "", "400"},
		}},
		{"17.4 of 9110: what only looks like them is not", []turn{
			{"GET /...", "200", "200"}, {"GET /%252e%252e/x", "200", "200"}, {"GET /a..b", "200", "200"}, {"GET ?a=../..", "200", "200"},
		}},
	})
}
