package cli

import (
	"errors"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// joined is nil, the one error, or all of them.
func joined(list []error) error {
	if len(list) == 1 {
		return list[0]
	}
	return errors.Join(list...)
}

// flagError says what is wrong with a flag, and which one may have been meant.
func flagError(cmd *cobra.Command, err error) error {
	hint := "see '" + cmd.CommandPath() + " --help'"
	var unknown *pflag.NotExistError
	var value *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown):
		name := unknown.GetSpecifiedName()
		if near := nearestFlag(cmd, name); len(name) > 1 && near != "" {
			hint = "did you mean --" + near + "?"
		}
		if len(name) > 1 {
			name = "-" + name
		}
		err = errdef.Errorf(errdef.Invalid, "%s: unknown flag -%s", commandWords(cmd), name)
	case errors.As(err, &value):
		reason := value.Unwrap()
		if n := (*strconv.NumError)(nil); errors.As(reason, &n) && n.Func == "ParseBool" {
			reason = errdef.Errorf(errdef.Invalid, "neither true nor false")
		}
		if h := errdef.Hint(reason); h != "" {
			hint = h
		}
		if refused := (*refusal)(nil); errors.As(reason, &refused) {
			err = errdef.Errorf(errdef.Unsupported, "%s: --%s: %w", commandWords(cmd), value.GetFlag().Name, reason)
			break
		}
		err = errdef.Errorf(errdef.Invalid, "%s: --%s %q: %w", commandWords(cmd), value.GetFlag().Name, value.GetValue(), reason)
	default:
		err = errdef.Errorf(errdef.Invalid, "%s: %w", commandWords(cmd), err)
	}
	return &statusError{exitUsage, errdef.WithHint(err, hint)}
}

// isFlagError reports whether flagError has yet to see the error.
func isFlagError(err error) bool {
	var seen *statusError
	var unknown *pflag.NotExistError
	var value *pflag.InvalidValueError
	var missing *pflag.ValueRequiredError
	var syntax *pflag.InvalidSyntaxError
	return !errors.As(err, &seen) && (errors.As(err, &unknown) || errors.As(err, &value) || errors.As(err, &missing) || errors.As(err, &syntax))
}

// commandWords is the command without the program's name.
func commandWords(cmd *cobra.Command) string {
	_, words, ok := strings.Cut(cmd.CommandPath(), " ")
	if !ok {
		return "global flags"
	}
	return words
}

// A refusal is why a flag that people know cannot be used.
type refusal struct{ reason string }

func (r *refusal) Error() string { return r.reason }

// refusedFlag is the value of a flag that is always refused.
type refusedFlag struct {
	reason, hint string
	allow        string // a value that asks for nothing
	boolean      bool
}

func (f *refusedFlag) String() string   { return "" }
func (f *refusedFlag) IsBoolFlag() bool { return f.boolean }
func (f *refusedFlag) Type() string {
	if f.boolean {
		return "bool"
	}
	return "string"
}

func (f *refusedFlag) Set(v string) error {
	if f.allow != "" && v == f.allow {
		return nil
	}
	return errdef.WithHint(error(&refusal{f.reason}), f.hint)
}

// refuse makes a flag known, and refused with a reason. It is not in the help.
func refuse(flags *pflag.FlagSet, name, shorthand string, value refusedFlag) {
	f := flags.VarPF(&value, name, shorthand, "refused: "+value.reason)
	if value.boolean {
		f.NoOptDefVal = "true"
	}
	f.Hidden = true
}

// count wants a number of arguments; most < 0 is any. Docker ends with 1 here.
func count(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= least && (most < 0 || len(args) <= most) {
			return nil
		}
		_, takes, _ := strings.Cut(cmd.Use, "[OPTIONS]")
		wants := "wants" + takes
		switch {
		case most == 0:
			wants = "takes no argument"
		case len(args) > most && most > 0:
			wants = "too many arguments: wants" + takes
		}
		return errdef.WithHint(errdef.Errorf(errdef.Invalid, "%s: %s", commandWords(cmd), wants), "see '"+cmd.CommandPath()+" --help'")
	}
}

// unknownCommand is the error for a word that is no command.
func unknownCommand(path, word string, known []string) error {
	err := errdef.Errorf(errdef.Invalid, "%q: unknown command", word)
	if path != Name {
		err = errdef.Errorf(errdef.Invalid, "%s: %q: unknown command", strings.TrimPrefix(path, Name+" "), word)
	}
	if near := nearest(word, known); near != "" {
		return errdef.WithHint(err, "did you mean '"+path+" "+near+"'?")
	}
	return errdef.WithHint(err, "see '"+path+" --help'")
}

func nearestFlag(cmd *cobra.Command, name string) string {
	var known []string
	add := func(f *pflag.Flag) {
		if !f.Hidden {
			known = append(known, f.Name)
		}
	}
	cmd.Flags().VisitAll(add)
	cmd.InheritedFlags().VisitAll(add)
	return nearest(name, known)
}

// nearest returns the word that is one or two letters away, or that begins so, "" if none.
func nearest(word string, known []string) string {
	best, at := "", 3
	if len(word) < 5 {
		at = 2
	}
	for _, k := range known {
		d := distance(word, k)
		if strings.HasPrefix(k, word) && len(word) > 2 {
			d = 1
		}
		if d < at {
			best, at = k, d
		}
	}
	return best
}

// distance is how many letters are to be put in, taken out, changed, or swapped with their neighbour.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
