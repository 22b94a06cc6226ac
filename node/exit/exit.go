// Package exit calls providers: it takes requests from edges, checks that they may be made from
// here, adds the credential, which never leaves this process, and streams the answer back.
package exit

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/causeway-mesh/causeway/mesh/tunnel"
	"github.com/causeway-mesh/causeway/node/passage"
	"github.com/causeway-mesh/causeway/node/view"
	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/dialect/registry"
	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/lend"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/upstream"
)

// Sample is how one call to a provider went, for the health that this exit gossips.
type Sample struct {
	Provider  string
	FirstByte time.Duration
	Connect   time.Duration
	Fault     *fault.Error
}

// Config is what an exit needs. It is not changed after New.
type Config struct {
	View    *view.Holder
	Observe func(now time.Time, s Sample) // must not block
	MaxBody int64
	Dial    upstream.DialFunc // connections to providers; nil = the system's
	Log     zerolog.Logger
}

// Exit serves the requests of edges. Safe for concurrent use.
type Exit struct {
	cfg      Config
	accounts atomic.Pointer[map[string]*account]
}

// New makes an exit and follows the view from now on.
func New(cfg Config) *Exit {
	if cfg.MaxBody <= 0 {
		cfg.MaxBody = 64 << 20
	}
	e := &Exit{cfg: cfg}
	cfg.View.OnChange(e.rebuild)
	if s := cfg.View.Load(); s != nil {
		e.rebuild(s)
	}
	return e
}

// Close drops the idle connections to providers. Call it when no request runs any more.
func (e *Exit) Close() {
	if accounts := e.accounts.Load(); accounts != nil {
		for _, a := range *accounts {
			a.client.Close()
		}
	}
}

// ServeTunnel is one request from an edge over the tunnel.
func (e *Exit) ServeTunnel(ctx context.Context, x *tunnel.Exchange) {
	if x.Request.BodyLen < 0 || x.Request.BodyLen > e.cfg.MaxBody {
		x.Abort(fault.New(fault.TooLarge, "the body is larger than %d bytes, this exit's limit", e.cfg.MaxBody))
		return
	}
	mem := lend.Get(int(x.Request.BodyLen))
	body := mem.Bytes()[:x.Request.BodyLen]
	if _, err := io.ReadFull(x.Body, body); err != nil {
		mem.Drop()
		x.Abort(fault.New(fault.Canceled, "the edge withdrew the request").With(err))
		return
	}
	a, err := e.CallIn(ctx, &x.Request, lend.Body{First: body, Memory: mem})
	mem.Drop()
	if err != nil {
		x.Abort(fault.As(err))
		return
	}
	defer a.Close()
	if err := e.pump(x, a); err != nil && ctx.Err() == nil {
		e.cfg.Log.Debug().Err(err).Msg("edge left")
	}
}

// pump carries an answer to the edge. A short one that is there in one piece leaves in one write.
func (e *Exit) pump(x *tunnel.Exchange, a *Answer) error {
	chunk, err := a.Next()
	if errors.Is(err, io.EOF) {
		t, _ := a.Trailer()
		return x.Respond(a.Reply(), chunk, t)
	}
	if werr := x.WriteReply(a.Reply()); werr != nil {
		return werr
	}
	for {
		if len(chunk) > 0 {
			if _, werr := x.Write(chunk); werr != nil {
				return werr
			}
		}
		if err != nil {
			t, _ := a.Trailer()
			return x.Finish(t)
		}
		chunk, err = a.Next()
	}
}

// Call makes one attempt at a provider, trying its other credentials where one is at its limit or
// refused. The error is a *fault.Error; Raw holds the provider's own answer where it gave one.
func (e *Exit) Call(ctx context.Context, req *tunnel.Request, body []byte) (*Answer, error) {
	return e.CallIn(ctx, req, lend.Body{First: body})
}

// CallIn is Call with a body in lent memory: the caller holds it until CallIn has returned, the call
// for as long as it needs it.
func (e *Exit) CallIn(ctx context.Context, req *tunnel.Request, body lend.Body) (*Answer, error) {
	begin := time.Now()
	accounts := e.accounts.Load()
	if accounts == nil {
		return nil, fault.New(fault.ExitUnreachable, "this exit has not heard from a coordinator yet")
	}
	acct := (*accounts)[req.Provider]
	d, op := llm.Dialect(req.Dialect), llm.Op(req.Op)
	target, known := acct.serves(req.Model)
	if acct == nil || !known && (req.Model != "" || op != llm.OpStored) {
		return nil, fault.New(fault.ExitUnreachable, "this exit may not call %s for %s", req.Provider, req.Model)
	}
	if of := acct.spec.Tenant; of != "" && of != req.Tenant {
		return nil, fault.New(fault.ExitUnreachable, "%s is not for this tenant", req.Provider)
	}
	back := registry.Backend(d)
	if back == nil {
		return nil, fault.New(fault.ExitUnreachable, "this exit does not know the dialect %q", req.Dialect)
	}
	if !permits(req, target, back, d, op) {
		return nil, fault.New(fault.ExitUnreachable, "this exit does not send %s %s for %s", req.Method, req.Path, op)
	}
	if _, limited := ctx.Deadline(); req.Timeout > 0 && !limited { // the tunnel's and the edge's contexts end in time
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, req.Timeout)
		a, err := e.call(ctx, req, body, acct, back, op, begin)
		if err != nil {
			cancel()
			return nil, err
		}
		a.cancel = cancel
		return a, nil
	}
	return e.call(ctx, req, body, acct, back, op, begin)
}

// permits reports whether an operation is asked for as edges ask for it. An edge that has been taken over
// could else use all of a provider's API under the account's credential.
func permits(req *tunnel.Request, target *view.Target, back dialect.Backend, d llm.Dialect, op llm.Op) bool {
	if passage.Has(op) {
		return passage.Permits(d, op, req.Method, req.Path)
	}
	version := ""
	if strings.HasPrefix(req.Path, "/v1/") {
		version = "v1"
	}
	path := target.Facts(d).Path(back.Path(op, version, req.Model, req.Stream))
	return req.Method == http.MethodPost && path != "" && path == req.Path
}

func (e *Exit) call(ctx context.Context, req *tunnel.Request, body lend.Body, acct *account, back dialect.Backend, op llm.Op, begin time.Time) (*Answer, error) {
	header := make(http.Header, len(req.Header))
	values := make([]string, len(req.Header)) // one piece of memory for all fields that come once
	for i, f := range req.Header {
		if have, ok := header[f.Name]; ok {
			header[f.Name] = append(have, f.Value)
			continue
		}
		values[i] = f.Value
		header[f.Name] = values[i : i+1 : i+1]
	}
	var tried []string
	var last *fault.Error // of the credentials tried so far
	for {
		secret, wait, ok := acct.secrets.Pick(time.Now(), req.Model, tried, rand.Uint64())
		switch {
		case ok || acct.bare:
		case last != nil:
			return nil, last
		default:
			why := acct.secrets.Why(time.Now(), req.Model)
			return nil, fault.New(why, "every credential of %s is resting", req.Provider).After(wait)
		}
		resp, err := acct.client.Do(ctx, upstream.Call{
			Method: req.Method, Path: req.Path, RawQuery: req.RawQuery, Header: header, Body: body, Secret: secret.Value, Stream: req.Stream || op == llm.OpSpeech || op == llm.OpStored, // files may be larger than answers
		})
		now := time.Now()
		if err == nil && resp.Status < 400 {
			acct.secrets.Report(now, req.Model, secret.ID, nil)
			return newAnswer(e, acct, req, back, op, secret.ID, resp, begin), nil
		}
		var f *fault.Error
		if err != nil {
			f = fault.As(err)
		} else {
			raw := resp.ErrorBody()
			f = back.DecodeFault(resp.Status, resp.Header, raw)
			f.Raw = raw
			if op == llm.OpStored && resp.Status == http.StatusForbidden {
				// Google says so of what is not there. Nobody may make a credential rest by asking for it.
				f = fault.New(fault.ResourceNotFound, "the provider says that this does not exist, or refuses access to it").At(fault.Sent)
				f.Status = resp.Status
			}
		}
		if f.Kind != fault.Canceled {
			e.cfg.Observe(now, Sample{Provider: req.Provider, Fault: f})
		}
		if acct.bare {
			return nil, f
		}
		acct.secrets.Report(now, req.Model, secret.ID, f)
		switch f.Kind {
		case fault.UpstreamRate, fault.UpstreamAuth, fault.UpstreamQuota:
			tried = append(tried, secret.ID)
			last = f
		default:
			return nil, f
		}
	}
}
