package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/causeway-mesh/causeway/coordinator/api"
	"github.com/causeway-mesh/causeway/coordinator/manifest"
)

// Exit codes (DESIGN.md 4.5).
const (
	exitOK          = 0
	exitError       = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitDenied      = 4
	exitUnavailable = 5
	exitCheck       = 6 // doctor, audit verify: it ran, and what it looked at is not in order
)

// failure is an error as the user sees it: what, why, and what to do next.
type failure struct {
	code  int
	what  string
	why   error
	next  string
	quiet bool // everything has been said already
}

func (f *failure) Error() string {
	switch {
	case f.why == nil:
		return f.what
	case f.what == "":
		return f.why.Error()
	}
	return f.what + ": " + f.why.Error()
}

func (f *failure) Unwrap() error { return f.why }

func (f *failure) write(w io.Writer, p painter) {
	if f.quiet {
		return
	}
	text := strings.ReplaceAll(strings.TrimRight(f.Error(), "\n"), "\n", "\n  ")
	_, _ = fmt.Fprintf(w, "%s %s\n", p.bad("error:"), text)
	if f.next != "" {
		_, _ = fmt.Fprintf(w, "%s %s\n", p.dim("next: "), strings.ReplaceAll(f.next, "\n", "\n       "))
	}
}

// misuse is a wrong command line.
func misuse(c *cobra.Command, format string, args ...any) error {
	return &failure{code: exitUsage, what: fmt.Sprintf(format, args...), next: c.CommandPath() + " --help"}
}

// fail says what was attempted and what to do about it; the code follows from why.
func fail(what string, why error, next string) error {
	if why == nil {
		return nil
	}
	f := explain(why)
	if p, ok := why.(*api.Problem); ok {
		why = tidy(p)
	}
	return &failure{code: f.code, what: what, why: why, next: cmp.Or(next, f.next), quiet: f.quiet}
}

// tidy says each thing once: the field before a single refusal, a count before several.
func tidy(p *api.Problem) *api.Problem {
	out := *p
	switch {
	case len(p.Problems) == 0 && p.Field != "" && !strings.Contains(p.Detail, p.Field):
		out.Detail = p.Field + ": " + p.Detail
	case len(p.Problems) == 1 && p.Problems[0].Message == p.Detail:
		out.Detail = "nothing was changed"
	case len(p.Problems) > 1 && strings.HasSuffix(p.Problems[0].Message, p.Detail):
		out.Detail = fmt.Sprintf("%d problems; nothing was changed", len(p.Problems))
	}
	return &out
}

// explain finds code and next step for any error.
func explain(err error) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		if error(f) == err {
			return f
		}
		return &failure{code: f.code, why: err, next: f.next, quiet: f.quiet}
	}
	if p, ok := errors.AsType[*api.Problem](err); ok {
		return explainProblem(p, err)
	}
	if strings.HasPrefix(err.Error(), "unknown command ") { // cobra has no type for it
		return &failure{code: exitUsage, why: err, next: "causeway --help"}
	}
	if _, ok := manifest.AsProblems(err); ok {
		return &failure{code: exitError, why: err, next: "correct the file and run the command again; nothing was changed"}
	}
	f := &failure{code: exitError, why: err, next: "causeway doctor"}
	_, isURL := errors.AsType[*url.Error](err)
	_, isNet := errors.AsType[*net.OpError](err)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		f.next = "stop the process that has the port, or choose another port"
	case errors.Is(err, fs.ErrNotExist):
		f.next = "check the path"
	case errors.Is(err, fs.ErrPermission):
		f.code, f.next = exitDenied, "run as the user who owns the file, or choose another path or port"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.ECONNREFUSED), isURL, isNet:
		f.code, f.next = exitUnavailable, "check that the server runs and that --server, CAUSEWAY_SERVER or the directory you are in names it: causeway doctor"
	case command(err) != "":
		f.next = command(err)
	case strings.Contains(err.Error(), "is in use by another process"):
		f.next = "stop the other process, or give this one its own port or directory"
	}
	return f
}

// command is the first command that an error's own text names: "run `causeway node join`".
func command(err error) string {
	_, rest, ok := strings.Cut(err.Error(), "`causeway ")
	cmd, _, closed := strings.Cut(rest, "`")
	if !ok || !closed {
		return ""
	}
	return "causeway " + cmd
}

func explainProblem(p *api.Problem, err error) *failure {
	f := &failure{code: exitError, why: err}
	switch {
	case p.Code == "unauthorized":
		f.code, f.next = exitDenied, "give an admin token: --token file:DIR/admin.token (of the first coordinator), or CAUSEWAY_TOKEN"
	case p.Status == 401 || p.Status == 403:
		f.code, f.next = exitDenied, "use a token whose role may do this"
	case p.Code == "not_in_this_version":
		f.code, f.next = exitNotFound, "causeway version"
	case p.Status == 404:
		f.code, f.next = exitNotFound, "list what there is: causeway NOUN list"
	case p.Outcome == api.OutcomeUnknown:
		f.code, f.next = exitUnavailable, "look whether the change was made before repeating it: causeway coordinator status"
	case p.Retryable || p.Status >= 500:
		f.code, f.next = exitUnavailable, "causeway coordinator status, then try again"
	case p.Code == "precondition_failed":
		f.next = "somebody changed it meanwhile: look at it (get) and repeat the command"
	case p.Code == "conflict":
		f.next = "look at what is there (get), or change it (set)"
	case p.Code == "in_use":
		f.next = "change or delete what refers to it first"
	case p.Code == "confirmation_required":
		f.code, f.next = exitUsage, "repeat the command with --yes"
	default:
		f.next = "correct the named field and repeat the command; nothing was changed"
	}
	return f
}

// painter colours text for a terminal, or leaves it alone.
type painter bool

// paint honours NO_COLOR (https://no-color.org) and dumb terminals.
func paint(w io.Writer) painter {
	return painter(os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && terminal(w))
}

func (p painter) wrap(code, s string) string {
	if !p {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (p painter) good(s string) string { return p.wrap("32", s) }
func (p painter) warn(s string) string { return p.wrap("33", s) }
func (p painter) bad(s string) string  { return p.wrap("31", s) }
func (p painter) dim(s string) string  { return p.wrap("2", s) }
func (p painter) bold(s string) string { return p.wrap("1", s) }

// terminal reports whether w is a character device.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
