package runtime

import (
	"slices"
	"testing"
)

func TestCompleteEnv(t *testing.T) {
	for _, test := range []struct{ env, want []string }{
		{nil, []string{"HOME=/passwd"}},
		{[]string{"A=1", "HOME=/own"}, []string{"A=1", "HOME=/own"}},
		{[]string{"HOME=", "A=1"}, []string{"A=1", "HOME=/passwd"}},
		{[]string{"HOME=/own", "HOME="}, []string{"HOME=/passwd"}},
		{[]string{"HOME=", "HOME=/own"}, []string{"HOME=/own"}},
		{[]string{"A=1", "B=2", "A=3", "HOMER=x"}, []string{"B=2", "A=3", "HOMER=x", "HOME=/passwd"}},
		{[]string{"A=", "A=1", "A="}, []string{"A=", "HOME=/passwd"}},
		{[]string{"A=b=c", "A=b=d"}, []string{"A=b=d", "HOME=/passwd"}},
	} {
		before := slices.Clone(test.env)
		got := completeEnv(test.env, func() string { return "/passwd" })
		if !slices.Equal(got, test.want) {
			t.Errorf("%q gives %q, want %q", test.env, got, test.want)
		}
		if !slices.Equal(test.env, before) {
			t.Errorf("%q has become %q", before, test.env)
		}
	}
}
