package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/causeway-mesh/causeway/compliance/audit"
	"github.com/causeway-mesh/causeway/compliance/audit/segment"
)

func (a *app) audit() *cobra.Command {
	c := &cobra.Command{Use: "audit", Short: "What left for where, and why it was allowed"}
	a.outputFlag(c)
	c.AddCommand(a.auditTail(), a.auditVerify())
	return c
}

func dirFlag(c *cobra.Command, to *[]string) {
	c.Flags().StringSliceVar(to, "dir", nil, "audit or data directory of a node; all of the dev mesh or node in this directory or above")
}

// auditDirs finds nodes' audit logs: in the given directories, or where dev and node keep theirs.
func auditDirs(given []string) ([]string, error) {
	if len(given) == 0 {
		return defaultAuditDirs()
	}
	var out []string
	for _, d := range given {
		found := logsIn(d)
		if len(found) == 0 {
			return nil, &failure{code: exitNotFound, what: d + " holds no audit log", next: "name a node's data directory, or its audit directory: --dir DIR"}
		}
		out = append(out, found...)
	}
	return out, nil
}

// logsIn is dir when it is a log, else the logs of the node or of the dev mesh that it belongs to.
func logsIn(dir string) []string {
	if list, err := segment.List(dir); err == nil && len(list) > 0 {
		return []string{dir}
	}
	var out []string
	for _, pattern := range []string{"audit", "nodes/*/audit"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil { // a directory whose name is a broken pattern
			continue
		}
		for _, d := range found {
			if list, err := segment.List(d); err == nil && len(list) > 0 {
				out = append(out, d)
			}
		}
	}
	return out
}

func defaultAuditDirs() ([]string, error) {
	if data := os.Getenv("CAUSEWAY_DATA"); data != "" {
		if out := logsIn(data); len(out) > 0 {
			return out, nil
		}
	}
	dir, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("find audit logs: %w", err)
	}
	for {
		out := slices.Concat(logsIn(filepath.Join(dir, devDir)), logsIn(filepath.Join(dir, ".causeway/node")))
		up := filepath.Dir(dir)
		if len(out) > 0 {
			return out, nil
		}
		if up == dir {
			return nil, &failure{code: exitNotFound, what: "no audit log in this directory or above", next: "name a node's data directory: --dir DIR   (only edges keep logs, from their first request on)"}
		}
		dir = up
	}
}

func (a *app) auditTail() *cobra.Command {
	var dirs []string
	var last int
	var follow bool
	c := &cobra.Command{
		Use: "tail", Short: "The newest records of nodes' audit logs", Args: cobra.NoArgs,
		Long:    "Tail reads the files on this machine, beside the running node. -o json prints each record exactly as it is kept, one a line.",
		Example: "  causeway audit tail -n 50 -f\n  causeway audit tail --dir /var/lib/causeway/node -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			format, err := a.format(c)
			if err != nil {
				return err
			}
			if last < 0 {
				return misuse(c, "-n must not be negative")
			}
			found, err := auditDirs(dirs)
			if err != nil {
				return err
			}
			return a.tail(c.Context(), found, audit.TailOptions{Last: last, Follow: follow}, format)
		},
	}
	dirFlag(c, &dirs)
	c.Flags().IntVarP(&last, "lines", "n", 20, "how many records; 0 = all")
	c.Flags().BoolVarP(&follow, "follow", "f", false, "then wait for more")
	return c
}

// tail merges several logs by time: first what is there, then, following, what comes.
func (a *app) tail(ctx context.Context, dirs []string, o audit.TailOptions, format string) error {
	if format == "table" {
		if err := put(a.Out, tailLine("TIME", "NODE", "TENANT", "RECORD", "REQUEST", "WHAT")); err != nil {
			return err
		}
	}
	type entry struct{ time, line string }
	var old []entry
	seen := make([]uint64, len(dirs)) // the next record of each log
	for i, d := range dirs {
		err := audit.Tail(ctx, d, audit.TailOptions{Last: o.Last}, func(r audit.Record, raw []byte) error {
			line, err := recordLine(&r, raw, format)
			old = append(old, entry{r.Time, line})
			seen[i] = r.Seq + 1
			return err
		})
		if err != nil {
			return fail("read the audit log in "+d, err, "causeway audit verify --dir "+d)
		}
	}
	slices.SortStableFunc(old, func(x, y entry) int { return strings.Compare(x.time, y.time) })
	if o.Last > 0 && len(old) > o.Last {
		old = old[len(old)-o.Last:]
	}
	for _, e := range old {
		if err := put(a.Out, e.line); err != nil {
			return err
		}
	}
	if !o.Follow {
		return nil
	}
	return a.follow(ctx, dirs, seen, format)
}

// catchUp is how many records a log may gain between reading it and following it.
const catchUp = 10000

// follow shows records as they come, from the next one of each log on.
func (a *app) follow(ctx context.Context, dirs []string, next []uint64, format string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	errs := make([]error, len(dirs))
	var wg sync.WaitGroup
	for i, d := range dirs {
		wg.Go(func() {
			errs[i] = audit.Tail(ctx, d, audit.TailOptions{Last: catchUp, Follow: true}, func(r audit.Record, raw []byte) error {
				if r.Seq < next[i] {
					return nil
				}
				line, err := recordLine(&r, raw, format)
				if err != nil {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				return put(a.Out, line)
			})
			if errs[i] != nil {
				cancel() // one log that cannot be read is not to be overlooked among others
			}
		})
	}
	wg.Wait()
	return fail("follow the audit log", errors.Join(errs...), "causeway audit verify")
}

func recordLine(r *audit.Record, raw []byte, format string) (string, error) {
	switch format {
	case "json":
		return string(raw) + "\n", nil
	case "yaml":
		s, err := asYAML(raw)
		return "---\n" + s, err
	case "name":
		return r.Log + "/" + strconv.FormatUint(r.Seq, 10) + "\n", nil
	}
	node, _, _ := strings.Cut(r.Log, "/")
	request, what := describe(r)
	return tailLine(r.Time, node, r.Tenant, string(r.Kind), request, what), nil
}

func tailLine(cells ...string) string {
	var b strings.Builder
	for i, width := range []int{27, 20, 12, 8, 36, 0} {
		fmt.Fprintf(&b, "%-*s ", width, or(cells[i], "-"))
	}
	return strings.TrimRight(b.String(), " ") + "\n"
}

// describe is a record in one line.
func describe(r *audit.Record) (request, what string) {
	switch {
	case r.Intent != nil:
		in := r.Intent
		what = in.Decision
		if in.Code != "" {
			what += " " + in.Code
		}
		what += " " + in.Model
		if in.Class != "" {
			what += " class " + in.Class
		}
		what += ", client in " + or(in.Client, "unknown place") + ", edge " + in.EdgeRegion
		if len(in.Rules) > 0 {
			what += " by " + join(in.Rules)
		}
		return in.Request, what
	case r.Outcome != nil:
		o := r.Outcome
		what = o.Result + " " + strconv.Itoa(o.Status)
		if o.Code != "" {
			what += " " + o.Code
		}
		what += fmt.Sprintf(" in %s, %d attempts, %d+%d tokens", millis(float64(o.TotalUS)/1000), o.Attempts, o.Input, o.Output)
		if o.Processing != "" {
			what += ", processed in " + o.Processing
		}
		return o.Request, what
	case r.Recovery != nil:
		return "", fmt.Sprintf("opened after a crash: %d bytes torn, %d intents open", r.Recovery.Torn, r.Recovery.Open)
	case r.Loss != nil:
		return "", fmt.Sprintf("%d best-effort records lost", r.Loss.Records)
	case r.Carry != nil:
		return "", "segment begins"
	}
	return "", ""
}

// verified is one log's line of `audit verify`.
type verified struct {
	Dir         string `json:"dir"`
	Log         string `json:"log"`
	OK          bool   `json:"ok"`
	Trust       string `json:"trust"`
	Segments    int    `json:"segments"`
	Records     uint64 `json:"records"`
	Intents     uint64 `json:"intents"`
	Denied      uint64 `json:"denied"`
	Outcomes    uint64 `json:"outcomes"`
	Unknown     uint64 `json:"unknown_outcomes"`
	OpenIntents int    `json:"open_intents"`
	Lost        uint64 `json:"lost"`
	Torn        int64  `json:"torn_offset,omitempty"`
	Problem     string `json:"problem,omitempty"`
}

func (a *app) auditVerify() *cobra.Command {
	var dirs []string
	c := &cobra.Command{
		Use: "verify", Short: "Check nodes' audit logs: nothing changed, nothing left out", Args: cobra.NoArgs,
		Long: `Verify reads every record of a log on this machine: checksums, canonical form, an unbroken sequence,
every tenant's hash chain, and one outcome for each intent. It ends with 6 when something is wrong.

The trust reached is "self": it shows that the log is whole as the node wrote it. Somebody who can write
the whole directory could still rewrite all of it consistently.`,
		RunE: func(c *cobra.Command, _ []string) error {
			found, err := auditDirs(dirs)
			if err != nil {
				return err
			}
			return a.verify(c, found)
		},
	}
	dirFlag(c, &dirs)
	return c
}

func (a *app) verify(c *cobra.Command, dirs []string) error {
	var rows []verified
	bad := 0
	for _, d := range dirs {
		rep, err := audit.Verify(d)
		if err != nil {
			return fail("verify the audit log in "+d, err, "")
		}
		v := verified{
			Dir: d, Log: rep.Log, OK: rep.Bad == nil, Trust: rep.Trust(), Segments: rep.Segments, Records: rep.Records, Intents: rep.Intents,
			Denied: rep.Denied, Outcomes: rep.Outcomes, Unknown: rep.Unknown, OpenIntents: rep.OpenIntents, Lost: rep.Lost, Torn: rep.Torn,
		}
		if rep.Bad != nil {
			v.Problem, v.Trust = rep.Bad.Error(), "none"
			bad++
		}
		rows = append(rows, v)
	}
	raw, err := json.Marshal(rows)
	if err != nil {
		return fmt.Errorf("encode report: %w", err)
	}
	out := answer{raw: raw, table: func() table {
		t := table{head: []string{"LOG", "RESULT", "TRUST", "RECORDS", "INTENTS", "DENIED", "OUTCOMES", "UNKNOWN", "OPEN", "LOST", "PROBLEM"}}
		n := func(v uint64) string { return strconv.FormatUint(v, 10) }
		for _, v := range rows {
			result := "ok"
			if !v.OK {
				result = "BAD"
			}
			t.add(v.Log, result, v.Trust, n(v.Records), n(v.Intents), n(v.Denied), n(v.Outcomes), n(v.Unknown), strconv.Itoa(v.OpenIntents), n(v.Lost), v.Problem)
		}
		return t
	}}
	for _, v := range rows {
		out.names = append(out.names, v.Log)
	}
	if err := a.show(c, out); err != nil {
		return err
	}
	if bad > 0 {
		return &failure{
			code: exitCheck, what: fmt.Sprintf("%d of %d audit logs are not in order", bad, len(rows)),
			next: "keep the directory as it is, and compare it with a backup from the segment named above on",
		}
	}
	if a.global.output == "table" {
		a.note("Whole as the node wrote it (trust: self). Not shown: that the node wrote the truth, or that nobody rewrote all of it.")
	}
	return nil
}
