package reference

import (
	"strings"
	"testing"
	"unicode"

	oracle "github.com/distribution/reference"
	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	"pgregory.net/rapid"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

const sum = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

func TestParse(t *testing.T) {
	for in, want := range map[string]struct {
		r        Reference
		familiar string
	}{
		"alpine":                        {Reference{"docker.io", "library/alpine", "latest", ""}, "alpine:latest"},
		"alpine:3.20":                   {Reference{"docker.io", "library/alpine", "3.20", ""}, "alpine:3.20"},
		"team/app":                      {Reference{"docker.io", "team/app", "latest", ""}, "team/app:latest"},
		"docker.io/alpine":              {Reference{"docker.io", "library/alpine", "latest", ""}, "alpine:latest"},
		"index.docker.io/alpine":        {Reference{"docker.io", "library/alpine", "latest", ""}, "alpine:latest"},
		"docker.io/library/a/b":         {Reference{"docker.io", "library/a/b", "latest", ""}, "library/a/b:latest"},
		"quay.io/a/b/c:v1":              {Reference{"quay.io", "a/b/c", "v1", ""}, "quay.io/a/b/c:v1"},
		"localhost/x":                   {Reference{"localhost", "x", "latest", ""}, "localhost/x:latest"},
		"localhost":                     {Reference{"docker.io", "library/localhost", "latest", ""}, "localhost:latest"},
		"localhost:5000":                {Reference{"docker.io", "library/localhost", "5000", ""}, "localhost:5000"},
		"localhost:5000/x:y":            {Reference{"localhost:5000", "x", "y", ""}, "localhost:5000/x:y"},
		"HOST/x":                        {Reference{"HOST", "x", "latest", ""}, "HOST/x:latest"},
		"127.0.0.1:80/x":                {Reference{"127.0.0.1:80", "x", "latest", ""}, "127.0.0.1:80/x:latest"},
		"[::1]:5000/x":                  {Reference{"[::1]:5000", "x", "latest", ""}, "[::1]:5000/x:latest"},
		"[fe80::1]/x/y:z":               {Reference{"[fe80::1]", "x/y", "z", ""}, "[fe80::1]/x/y:z"},
		"a@" + sum:                      {Reference{"docker.io", "library/a", "", sum}, "a@" + sum},
		"q.io/a:v@" + sum:               {Reference{"q.io", "a", "v", sum}, "q.io/a:v@" + sum},
		"a__b---d/e_f.g":                {Reference{"docker.io", "a__b---d/e_f.g", "latest", ""}, "a__b---d/e_f.g:latest"},
		"docker.io/foo.bar/x":           {Reference{"docker.io", "foo.bar/x", "latest", ""}, "docker.io/foo.bar/x:latest"},
		"docker.io/localhost/x:1":       {Reference{"docker.io", "localhost/x", "1", ""}, "docker.io/localhost/x:1"},
		"x:" + strings.Repeat("t", 128): {Reference{"docker.io", "library/x", strings.Repeat("t", 128), ""}, "x:" + strings.Repeat("t", 128)},
	} {
		got, err := Parse(in)
		if err != nil {
			t.Errorf("%q: %v", in, err)
			continue
		}
		if d := cmp.Diff(want.r, got); d != "" {
			t.Errorf("%q: %s", in, d)
		}
		if got.Familiar() != want.familiar {
			t.Errorf("%q: familiar %q, want %q", in, got.Familiar(), want.familiar)
		}
		check(t, in, got)
	}
}

// check holds what is true of every name that was parsed.
func check(t interface{ Errorf(string, ...any) }, in string, r Reference) {
	for _, again := range []string{r.String(), r.Familiar()} {
		if back, err := Parse(again); err != nil || back != r {
			t.Errorf("%q is %q, which is %+v, %v", in, again, back, err)
		}
	}
	for _, c := range r.String() {
		if c > unicode.MaxASCII || unicode.IsSpace(c) || unicode.IsControl(c) {
			t.Errorf("%q has %q in %q", in, c, r.String())
		}
	}
	for part := range strings.SplitSeq(r.Path, "/") {
		if part == "" || part == "." || part == ".." {
			t.Errorf("%q has the path %q", in, r.Path)
		}
	}
	if r.Domain == "" || r.Path == "" || r.Tag == "" && r.Digest == "" {
		t.Errorf("%q: an empty part in %+v", in, r)
	}
}

func TestRefused(t *testing.T) {
	for in, want := range map[string]string{
		"":                                       "is empty",
		strings.Repeat("a/", 600):                "has 1200 bytes, at most 1024",
		sum[7:]:                                  "is an id, no name",
		"A":                                      "upper-case",
		"a/B":                                    "upper-case",
		"x:":                                     "the tag is empty",
		"x:.a":                                   `tag ".a": begins with "."`,
		"x:a b":                                  `tag "a b": ' ' is not allowed`,
		"x:a:b":                                  `tag "a:b": ':' is not allowed`,
		"x:" + strings.Repeat("t", 129):          "the tag has 129 bytes, at most 128",
		"x@":                                     "no algorithm",
		"x@sha256":                               "no algorithm",
		"x@sha256:abc":                           "3 digits, sha256 has 64",
		"x@" + strings.ToUpper(sum[7:]):          "no algorithm",
		"x@sha256:" + strings.ToUpper(sum[7:]):   "only 0-9 and a-f",
		"x@md5:9e107d9d372bb6826bd81d3542a419d6": `algorithm "md5" is neither`,
		"x@sha384:" + strings.Repeat("a", 96):    `algorithm "sha384" is neither`,
		"x@" + sum + "@" + sum:                   "digits, sha256 has 64",
		"/x":                                     "an empty part",
		"x/":                                     "an empty part",
		"a//b":                                   "an empty part",
		"a/../b":                                 "begins or ends with",
		"../b":                                   "an empty part between dots",
		"a/./b":                                  "begins or ends with",
		"a..b/c/d":                               "an empty part between dots",
		"x/a..b":                                 `".." between letters`,
		"x/a___b":                                `"___" between letters`,
		"x/a._b":                                 `"._" between letters`,
		"a-/b":                                   `a part begins or ends with "-"`,
		"a.-b/c":                                 "begins or ends with a hyphen",
		"a_b.c/d":                                `'_' is not allowed in a host name`,
		"host:0/x":                               "no number from 1 to 65535",
		"host:/x":                                "no number from 1 to 65535",
		"host:65536/x":                           "no number from 1 to 65535",
		"host:+1/x":                              "no number from 1 to 65535",
		"::1/x":                                  "an empty part between dots",
		"[::1/x":                                 "no IPv6 address in brackets",
		"[127.0.0.1]/x":                          "no IPv6 address in brackets",
		"[fe80::1%eth0]/x":                       "no IPv6 address in brackets",
		"[::1]5000/x":                            "after the bracket",
		"https://quay.io/x":                      "registry \"https:\": port \"\"",
		"x\n":                                    `'\n' is not allowed`,
		"x/\x1b[31m":                             `'\x1b' is not allowed`,
		"x/ä":                                    `'ä' is not allowed`,
		"a.b/" + strings.Repeat("a", 256):        "repository has 256 bytes, at most 255",
		strings.Repeat("a.", 130) + "a/x":        "registry has 261 bytes, at most 255",
	} {
		r, err := Parse(in)
		if err == nil {
			t.Errorf("%q: taken for %+v", in, r)
			continue
		}
		kind := errdef.Invalid
		if strings.Contains(err.Error(), "is neither") {
			kind = errdef.Unsupported
		}
		if !strings.Contains(err.Error(), want) || !errdef.Is(err, kind) {
			t.Errorf("%q: %v (%v), want %q", in, err, errdef.KindOf(err), want)
		}
		if strings.ContainsAny(err.Error(), "\n\x1b") || len(err.Error()) > 1200 {
			t.Errorf("%q: the error is not for a terminal: %q", in, err)
		}
	}
}

func TestWith(t *testing.T) {
	r, err := Parse("q.io/a:v@" + sum)
	if err != nil {
		t.Fatal(err)
	}
	if r.Identifier() != sum {
		t.Errorf("identifier %q", r.Identifier())
	}
	tagged, err := r.WithTag("w")
	if err != nil || tagged.String() != "q.io/a:w" || tagged.Identifier() != "w" {
		t.Errorf("got %q, %v", tagged, err)
	}
	digested, err := tagged.WithDigest(sum)
	if err != nil || digested.String() != "q.io/a@"+sum {
		t.Errorf("got %q, %v", digested, err)
	}
	if _, err := r.WithTag("a/b"); err == nil {
		t.Error("a tag with a slash")
	}
	if _, err := r.WithDigest("sha256:x"); err == nil {
		t.Error("a short digest")
	}
	if s := (Reference{}).String(); s != "" {
		t.Errorf("the zero value is %q", s)
	}
}

// differ compares with the oracle. We may refuse what it takes, for the reasons that the package comment names, and nothing else.
func differ(t interface{ Errorf(string, ...any) }, in string) {
	mine, err := Parse(in)
	named, oracleErr := oracle.ParseNormalizedNamed(in)
	if err == nil {
		check(t, in, mine)
		if oracleErr != nil {
			t.Errorf("%q: taken for %+v, the oracle says %v", in, mine, oracleErr)
			return
		}
		named = oracle.TagNameOnly(named)
		var tag string
		var d digest.Digest
		if tagged, ok := named.(oracle.Tagged); ok {
			tag = tagged.Tag()
		}
		if digested, ok := named.(oracle.Digested); ok {
			d = digested.Digest()
		}
		if want := (Reference{oracle.Domain(named), oracle.Path(named), tag, d}); mine != want || mine.String() != named.String() {
			t.Errorf("%q: %+v, the oracle says %+v", in, mine, want)
		}
		return
	}
	if oracleErr != nil {
		return
	}
	domain := oracle.Domain(named)
	_, port, _ := strings.Cut(domain[strings.LastIndex(domain, "]")+1:], ":")
	stricter := domain == "" || len(domain) > MaxDomain || len(in) > MaxLength || strings.Contains(in, "sha384:") ||
		strings.HasPrefix(domain, "[") && strings.Contains(err.Error(), "IPv6") || strings.Contains(err.Error(), "port "+`"`+port+`"`)
	if !stricter {
		t.Errorf("%q: %v, the oracle says %v", in, err, named)
	}
}

// TestOracle draws names that are nearly right: of parts that the grammar knows and of characters that it does not.
func TestOracle(t *testing.T) {
	part := rapid.OneOf(
		rapid.SampledFrom([]string{"a", "library", "localhost", "docker.io", "index.docker.io", "a.b", "A", "[::1]", "x_y", "x__y", "x--y", "latest", sum, sum[7:], "5000", "..", "-", "."}),
		rapid.StringMatching(`[a-zA-Z0-9._:@/\[\]-]{0,6}`),
	)
	glue := rapid.SampledFrom([]string{"/", "/", ":", "@", "", "."})
	rapid.Check(t, func(t *rapid.T) {
		var s strings.Builder
		for i := range rapid.IntRange(1, 5).Draw(t, "parts") {
			if i > 0 {
				s.WriteString(glue.Draw(t, "glue"))
			}
			s.WriteString(part.Draw(t, "part"))
		}
		differ(t, s.String())
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"alpine", "docker.io/library/alpine:latest", "localhost:5000/a/b:c@" + sum, "[::1]:5000/x", "A/b", "a_b.c/d", "x@sha384:" + strings.Repeat("a", 96),
		"a//b", "host:99999/x", "::1/x", "x/a..b", "docker.io/foo.bar/x", "\x00", "index.docker.io/localhost",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { differ(t, s) })
}

func BenchmarkParse(b *testing.B) {
	for b.Loop() {
		if _, err := Parse("registry.example.org:5000/team/app:v1.2.3@" + sum); err != nil {
			b.Fatal(err)
		}
	}
}
