package consensus

import (
	"bytes"

	"github.com/rs/zerolog"
)

// logWriter turns the library's text lines ("… [WARN]  raft: heartbeat timeout reached: …") into
// zerolog events, dropping what is of no use to an operator.
type logWriter struct{ log zerolog.Logger }

func (w logWriter) Write(p []byte) (int, error) {
	line := bytes.TrimSpace(p)
	level := zerolog.DebugLevel
	if open := bytes.IndexByte(line, '['); open >= 0 {
		if end := bytes.IndexByte(line[open:], ']'); end > 0 {
			switch string(line[open+1 : open+end]) {
			case "INFO":
				level = zerolog.DebugLevel // our own lines tell state changes at info
			case "WARN":
				level = zerolog.InfoLevel
			case "ERROR":
				level = zerolog.WarnLevel
			}
			line = bytes.TrimSpace(line[open+end+1:])
			if routine(line) {
				level = zerolog.DebugLevel
			}
		}
	}
	line = bytes.TrimPrefix(line, []byte("raft: "))
	w.log.WithLevel(level).Str("from", "raft").Msg(string(line))
	return len(p), nil
}

// routine lines repeat many times a second while a member is away, or belong to every election: who
// leads is told by our own lines. A member's absence shows in /v1/cluster/members.
func routine(line []byte) bool {
	for _, p := range []string{
		"raft: failed to heartbeat", "raft: failed to appendEntries", "raft: failed to pipeline", "raft: failed to contact: ",
		"raft: failed to make requestVote", "raft-net: ", "raft: appendEntries rejected", "raft: failed to get previous log",
		"raft: rejecting pre-vote", "raft: heartbeat timeout reached", "raft: Election timeout reached", "raft: pre-vote campaign failed",
		"raft: no known peers", "raft: not part of stable configuration", "raft: rejecting vote request",
	} {
		if bytes.HasPrefix(line, []byte(p)) {
			return true
		}
	}
	return false
}
