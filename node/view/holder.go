package view

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/causeway-mesh/causeway/coordinator/api"
)

// Watcher delivers each new view after the given index, and nil when it confirmed that the last one
// still holds; *api.Client is the real one.
type Watcher interface {
	Watch(ctx context.Context, since uint64, on func(v *api.NodeView, confirmed time.Time)) error
}

// Holder keeps the current Snapshot. Load is safe from any goroutine and costs one atomic load.
type Holder struct {
	current  atomic.Pointer[Snapshot]
	fresh    atomic.Int64 // unix nanoseconds at which a coordinator last vouched for current
	mu       sync.Mutex
	changed  chan struct{}
	onChange []func(*Snapshot)
	path     string // last view on disk; "" = kept in memory only
	log      zerolog.Logger
}

// NewHolder makes a holder that also keeps the last view at path, mode 0600, so that a node can
// restart while no coordinator answers.
func NewHolder(path string, log zerolog.Logger) *Holder {
	return &Holder{changed: make(chan struct{}), path: path, log: log}
}

// Load returns the current snapshot, nil before the first.
func (h *Holder) Load() *Snapshot { return h.current.Load() }

// OnChange registers f to be called with every new snapshot, in order, from one goroutine. Call it
// before Run.
func (h *Holder) OnChange(f func(*Snapshot)) { h.onChange = append(h.onChange, f) }

// Wait blocks until there is a snapshot.
func (h *Holder) Wait(ctx context.Context) (*Snapshot, error) {
	for {
		h.mu.Lock()
		c := h.changed
		h.mu.Unlock()
		if s := h.current.Load(); s != nil {
			return s, nil
		}
		select {
		case <-c:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the first view: %w", context.Cause(ctx))
		}
	}
}

// Restore loads the last view from disk; it is not an error when there is none.
func (h *Holder) Restore() error {
	if h.path == "" {
		return nil
	}
	b, err := os.ReadFile(h.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("restore view: %w", err)
	}
	v, err := api.DecodeNodeView(b)
	if err != nil {
		return fmt.Errorf("restore view %s: %w", h.path, err)
	}
	return h.Apply(v)
}

// Apply compiles and publishes a view. An older or broken one is refused and the current stays.
func (h *Holder) Apply(v *api.NodeView) error {
	s, err := Compile(v)
	if err != nil {
		return fmt.Errorf("compile view %d: %w", v.Index, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if cur := h.current.Load(); cur != nil && s.Index < cur.Index {
		return fmt.Errorf("view went back from index %d to %d", cur.Index, s.Index)
	}
	h.current.Store(s)
	h.fresh.CompareAndSwap(0, s.ConfirmedAt.UnixNano())
	close(h.changed)
	h.changed = make(chan struct{})
	for _, f := range h.onChange {
		f(s)
	}
	return nil
}

// Run follows the coordinator until ctx ends. It asks for the whole view first, also after Restore,
// since credentials are not kept on disk.
func (h *Holder) Run(ctx context.Context, w Watcher) error {
	return w.Watch(ctx, 0, func(v *api.NodeView, confirmed time.Time) {
		if v != nil {
			if err := h.Apply(v); err != nil {
				h.log.Error().Err(err).Msg("view refused; the former one stays in force")
				return
			}
			h.log.Debug().Uint64("index", v.Index).Int("keys", len(v.Keys)).Int("nodes", len(v.Nodes)).Msg("view changed")
			h.save(v)
		}
		h.fresh.Store(confirmed.UnixNano())
	})
}

// Age is how long ago a coordinator last vouched for the current snapshot; very long before the first.
func (h *Holder) Age(now time.Time) time.Duration {
	at := h.fresh.Load()
	if at == 0 {
		return 1<<63 - 1
	}
	return max(now.Sub(time.Unix(0, at)), 0)
}

// save writes atomically. A failure only costs the ability to restart without a coordinator.
func (h *Holder) save(v *api.NodeView) {
	if h.path == "" {
		return
	}
	b, err := withoutSecrets(v).Encode()
	if err == nil {
		err = writeFile(h.path, b)
	}
	if err != nil {
		h.log.Warn().Err(err).Msg("view not saved; a restart will need a coordinator")
	}
}

// withoutSecrets drops provider credentials: an exit holds them in memory only.
func withoutSecrets(v *api.NodeView) *api.NodeView {
	c := *v
	c.Providers = slices.Clone(v.Providers)
	for i := range c.Providers {
		c.Providers[i].Auth.Secrets = nil
	}
	return &c
}

func writeFile(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".view-*") // mode 0600 by definition
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// ConfirmedAt is when a coordinator last vouched for the current snapshot; zero before the first.
func (h *Holder) ConfirmedAt() time.Time {
	if at := h.fresh.Load(); at != 0 {
		return time.Unix(0, at)
	}
	return time.Time{}
}
