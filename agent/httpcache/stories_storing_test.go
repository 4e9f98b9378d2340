package httpcache

import (
	"fmt"
	"testing"
)

// keptStory is that of a response that is used again, passedStory of one that is not.
func keptStory(rule, ask, origin string) story {
	return story{rule, []turn{{ask, origin, origin[:3] + "|#0"}, {ask, "", origin[:3] + "|#0|Cache-Status~hit"}}}
}

func passedStory(rule, ask, origin string) story {
	return story{rule, []turn{{ask, origin, origin[:3] + "|#0"}, {ask, origin, origin[:3] + "|#1"}}}
}

// TestStoring is RFC 9111 section 3.
func TestStoring(t *testing.T) {
	const fresh, modified = "|Cache-Control: max-age=60", "|Last-Modified: NOW-864000"
	stories := []story{
		keptStory("3: by max-age", "GET", "200"+fresh),
		keptStory("3: by s-maxage", "GET", "200|Cache-Control: s-maxage=60"),
		keptStory("3: by Expires", "GET", "200|Expires: NOW+60"),
		keptStory("3: by its status", "GET", "200"+modified),
		keptStory("3: public 302", "GET", "302|Location: /x|Cache-Control: public, max-age=60"),
		{"3: a response to POST is not kept", []turn{
			{"POST|>x", "200" + fresh, "200|#0"}, {"GET", "200" + fresh, "200|#1"},
		}},
		{"3: a response to OPTIONS is not kept", []turn{
			{"OPTIONS", "200" + fresh, "200|#0"}, {"OPTIONS", "200" + fresh, "200|#1"},
		}},
		{"3: a GET with content is not kept, nor answered from what is", []turn{
			{"GET|>x", "200|?>x" + fresh, "200|#0"}, {"GET", "200" + fresh, "200|#1"}, {"GET|>y", "200|?>y" + fresh, "200|#2"},
		}},
		passedStory("5.2.2.5: no-store", "GET", "200|Cache-Control: no-store, max-age=60"),
		passedStory("5.2.2.5: no-store in any case, among others", "GET", "200|Cache-Control: public, No-Store|Cache-Control: max-age=60"),
		{"5.2.2.5: what is storable again is stored again", []turn{
			{"GET", "200|Cache-Control: no-store", "200|#0"}, {"GET", "200" + fresh, "200|#1"}, {"GET", "200" + fresh, "200|#2|Cache-Status~stored"}, {"GET", "", "200|#2"},
		}},
		passedStory("5.2.2.7: private", "GET", "200|Cache-Control: private, max-age=60"),
		passedStory("5.2.2.7: private and public", "GET", "200|Cache-Control: public, private, max-age=60"),
		{"5.2.2.7: fields that are private go to whom they are meant for, and are not kept", []turn{
			{"GET", `200|Cache-Control: max-age=60, private="X-User, Set-Cookie"|X-User: me|Set-Cookie: a=b|X-All: 1`, "200|#0|X-User: me|Set-Cookie: a=b|X-All: 1"},
			{"GET", "", "200|#0|!X-User|!Set-Cookie|X-All: 1"},
		}},
		{"5.2.2.4: fields that are no-cache likewise", []turn{
			{"GET", `200|Cache-Control: max-age=60, no-cache="set-cookie"|Set-Cookie: a=b`, "200|#0|Set-Cookie: a=b"},
			{"GET", "", "200|#0|!Set-Cookie"},
		}},
		passedStory("7.3: a cookie", "GET", "200|Set-Cookie: a=b"+fresh),
		{"5.2.1.5: what is asked for with no-store is not kept", []turn{
			{"GET|Cache-Control: no-store", "200" + fresh, "200|#0"},
			{"GET", "200" + fresh, "200|#1"},
			{"GET|Cache-Control: no-store", "", "200|#1"},
		}},
		{"5.2.2.3: must-understand outdoes no-store where the status is known", []turn{
			{"GET", "200|Cache-Control: must-understand, no-store, max-age=60", "200|#0"}, {"GET", "", "200|#0"},
		}},
		passedStory("5.2.2.3: must-understand with a status that nobody knows", "GET", "299|Cache-Control: must-understand, max-age=60"),
		keptStory("3: a status that nobody knows, by its class", "GET", "299"+fresh),

		passedStory("3.5: Authorization", "GET|Authorization: Basic x", "200"+fresh),
		keptStory("3.5: Authorization and public", "GET|Authorization: Basic x", "200|Cache-Control: public, max-age=60"),
		keptStory("3.5: Authorization and must-revalidate", "GET|Authorization: Basic x", "200|Cache-Control: must-revalidate, max-age=60"),
		keptStory("3.5: Authorization and s-maxage", "GET|Authorization: Basic x", "200|Cache-Control: s-maxage=60"),
		passedStory("3.5: Authorization and proxy-revalidate", "GET|Authorization: Basic x", "200|Cache-Control: proxy-revalidate, max-age=60"),
		{"3.5: what one got who logged in is for nobody else", []turn{
			{"GET|Authorization: Basic x", "200" + fresh, "200|#0"},
			{"GET", "401|Www-Authenticate: Basic" + fresh, "401|#1|Www-Authenticate: Basic"},
			{"GET|Authorization: Basic x", "200" + fresh, "200|#2"},
		}},
		passedStory("15.5.2 of 9110: 401 though fresh", "GET", "401|Www-Authenticate: Basic"+fresh),
		passedStory("RFC 6585 4: 429 though fresh", "GET", "429"+fresh),
		{"3.1: hop-by-hop fields are neither kept nor passed", []turn{
			{"GET", "200|Connection: X-Hop|X-Hop: 1|Proxy-Authenticate: Basic|Keep-Alive: timeout=5" + fresh, "200|#0|!X-Hop|!Proxy-Authenticate|!Keep-Alive"},
			{"GET", "", "200|#0|!X-Hop|!Proxy-Authenticate|!Keep-Alive|!Connection"},
		}},
		{"3.1: all others are, also unknown and doubled ones", []turn{
			{"GET", "200|X-A: 1|X-A: 2|Link: </x>|Content-Language: de" + fresh, "200|X-A: 1, 2|Link: </x>|Content-Language: de"},
			{"GET", "", "200|X-A: 1, 2|Link: </x>|Content-Language: de"},
		}},
		{"3.3: what was cut is not used as if it were whole", []turn{
			{"GET", "200|Content-Length: 1000" + fresh, "cut"},
			{"GET", "200" + fresh, "200|#1"},
		}},
	}
	for _, status := range []int{200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501} {
		body := "|#0"
		if status == 204 {
			body = "|<"
		}
		stories = append(stories, story{fmt.Sprintf("15.1 of 9110: %d is fresh for a while by itself", status), []turn{
			{"GET", fmt.Sprint(status, modified), fmt.Sprint(status, body)}, {"GET", "", fmt.Sprint(status, body)},
		}})
	}
	for _, status := range []int{201, 202, 302, 303, 307, 400, 402, 403, 406, 409, 415, 418, 422, 451, 500, 502, 503, 504, 599} {
		stories = append(stories,
			passedStory(fmt.Sprintf("15.1 of 9110: %d is not", status), "GET", fmt.Sprint(status, modified)),
			keptStory(fmt.Sprintf("3: but %d with max-age", status), "GET", fmt.Sprint(status, fresh)))
	}
	tell(t, stories)
}
