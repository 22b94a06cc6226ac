package disk

import (
	"bytes"
	"io"

	"github.com/hashicorp/go-hclog"
	"github.com/rs/zerolog"
)

// HCLog gives a HashiCorp library a logger that writes to ours: their warnings and errors keep their
// level, everything else becomes debug, because their info is chatter to an operator.
func HCLog(log zerolog.Logger, component string) hclog.Logger {
	log = log.With().Str("component", component).Logger()
	quiet := lineWriter{log: log, level: zerolog.DebugLevel}
	return hclog.New(&hclog.LoggerOptions{
		Level:       hclog.Debug,
		DisableTime: true,
		Output: hclog.NewLeveledWriter(quiet, map[hclog.Level]io.Writer{
			hclog.Warn:  lineWriter{log: log, level: zerolog.WarnLevel},
			hclog.Error: lineWriter{log: log, level: zerolog.ErrorLevel},
		}),
	})
}

type lineWriter struct {
	log   zerolog.Logger
	level zerolog.Level
}

// Write turns one "[LEVEL] message" line into one log line.
func (w lineWriter) Write(p []byte) (int, error) {
	line := bytes.TrimSpace(p)
	if i := bytes.IndexByte(line, ']'); len(line) > 0 && line[0] == '[' && i > 0 {
		line = bytes.TrimSpace(line[i+1:])
	}
	w.log.WithLevel(w.level).Msg(string(line))
	return len(p), nil
}
