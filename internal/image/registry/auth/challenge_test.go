package auth

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

func TestChallenges(t *testing.T) {
	p := func(pairs ...string) map[string]string {
		m := map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	for _, c := range []struct {
		lines []string
		want  []challenge
	}{
		{[]string{`Bearer realm="https://a.test/token",service="r.test",scope="repository:x/y:pull,push"`}, []challenge{
			{"bearer", p("realm", "https://a.test/token", "service", "r.test", "scope", "repository:x/y:pull,push")},
		}},
		{[]string{`BASIC Realm="a \"b\" c"`}, []challenge{{"basic", p("realm", `a "b" c`)}}},
		{[]string{`Negotiate, Basic realm=x, Bearer realm = "y" , service=z`}, []challenge{
			{"negotiate", p()}, {"basic", p("realm", "x")}, {"bearer", p("realm", "y", "service", "z")},
		}},
		{[]string{`Basic realm="x"`, `Bearer realm="y"`}, []challenge{{"basic", p("realm", "x")}, {"bearer", p("realm", "y")}}},
		{[]string{`Bearer realm="first",realm="second"`}, []challenge{{"bearer", p("realm", "first")}}},
		{[]string{`Bearer realm="open`}, []challenge{{"bearer", p()}}},
		{[]string{`Bearer`}, []challenge{{"bearer", p()}}},
		{[]string{``, `,,,`, `"x"`, "\x00"}, nil},
		{[]string{`Bearer realm=`}, []challenge{{"bearer", p()}}},
	} {
		got := challenges(http.Header{"Www-Authenticate": c.lines})
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q\ngot  %+v\nwant %+v", c.lines, got, c.want)
		}
	}
	if got := challenges(http.Header{"Www-Authenticate": {strings.Repeat("A b=c, ", 1000)}}); len(got) != maxChallenges {
		t.Errorf("%d challenges", len(got))
	}
	many := "Bearer "
	for n := range 1000 {
		many += fmt.Sprintf("p%d=v,", n)
	}
	if got := challenges(http.Header{"Www-Authenticate": {many}}); len(got) == 0 || len(got[0].parameters) > maxParameters {
		t.Errorf("%d parameters", len(got[0].parameters))
	}
	if c, ok := choose([]challenge{{"basic", nil}, {"bearer", nil}}); !ok || c.scheme != "bearer" {
		t.Errorf("%v", c)
	}
}

func FuzzChallenges(f *testing.F) {
	for _, seed := range []string{`Bearer realm="a\"b",service=x`, "Basic", `a=b`, `A b="`, `A b=c, D e=f`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		got := challenges(http.Header{"Www-Authenticate": {line}})
		if len(got) > maxChallenges {
			t.Errorf("%d challenges", len(got))
		}
		size := 0
		for _, c := range got {
			size += len(c.scheme)
			for k, v := range c.parameters {
				size += len(k) + len(v)
			}
		}
		if size > len(line)*4 { // lower case can be longer
			t.Errorf("%d bytes out of %d", size, len(line))
		}
	})
}
