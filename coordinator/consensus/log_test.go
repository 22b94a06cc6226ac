package consensus

import (
	"bytes"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

func TestRaftLinesAreGradedForOperators(t *testing.T) {
	for _, c := range []struct{ line, want, why string }{
		{`2026-11-22T10:00:00Z [INFO]  raft: entering follower state: follower="c0"`, "debug", "our own lines tell who leads"},
		{`2026-11-22T10:00:00Z [WARN]  raft: heartbeat timeout reached, starting election: last-leader-addr=`, "debug", "every start and every election has it"},
		{`2026-11-22T10:00:00Z [WARN]  raft: Election timeout reached, restarting election`, "debug", "part of an election"},
		{`2026-11-22T10:00:00Z [ERROR] raft: failed to heartbeat to: peer=c1`, "debug", "repeats while a member is away"},
		{`2026-11-22T10:00:00Z [WARN]  raft: failed to contact quorum of nodes, stepping down`, "info", "a leader gave up"},
		{`2026-11-22T10:00:00Z [ERROR] raft: failed to take snapshot: error="disk full"`, "warn", "needs a person"},
		{`no level at all`, "debug", "what cannot be graded is not news"},
	} {
		var b bytes.Buffer
		if n, err := (logWriter{zerolog.New(&b)}).Write([]byte(c.line + "\n")); err != nil || n != len(c.line)+1 {
			t.Fatalf("Write gave %d, %v", n, err)
		}
		if !strings.Contains(b.String(), `"level":"`+c.want+`"`) {
			t.Errorf("%s (%s): %s", c.line, c.why, b.String())
		}
	}
}
