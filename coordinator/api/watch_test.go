package api

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Nodes that lost all coordinators ask more and more rarely, up to a bound; an answer starts it anew.
func TestWatchBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var dials []time.Time
		take := func() (d []time.Time) {
			mu.Lock()
			defer mu.Unlock()
			d, dials = dials, nil
			return d
		}
		var up atomic.Bool
		c, err := NewClient(Config{Servers: []string{"http://coordinator:7700"}, Dial: func(context.Context, string, string) (net.Conn, error) {
			mu.Lock()
			dials = append(dials, time.Now())
			mu.Unlock()
			if !up.Load() {
				return nil, errors.New("connection refused")
			}
			here, there := net.Pipe()
			go func() { // one answer: nothing has changed
				defer there.Close()
				if _, err := http.ReadRequest(bufio.NewReader(there)); err == nil {
					_, _ = there.Write([]byte("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"))
				}
			}()
			return here, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ctx, cancel := context.WithCancel(t.Context())
		watched := make(chan error, 1)
		go func() {
			watched <- c.Watch(ctx, 1, func(*NodeView, time.Time) { up.Store(false) }) // it answers once and is gone again
		}()
		time.Sleep(time.Hour)
		tries := take()
		if most := 2*int(time.Hour/(watchMax/2)) + 40; len(tries) > most {
			t.Errorf("%d dials in an hour without coordinators, want %d at most", len(tries), most)
		}
		longest := time.Duration(0)
		for i := range tries[1:] {
			longest = max(longest, tries[i+1].Sub(tries[i]))
		}
		if longest > watchMax || longest < watchMax/2 {
			t.Errorf("a pause of %v, want up to %v", longest, watchMax)
		}
		up.Store(true)
		for up.Load() {
			time.Sleep(10 * time.Millisecond)
		}
		take()
		time.Sleep(3 * time.Second)
		if n := len(take()); n < 6 {
			t.Errorf("%d dials in the first 3 s after an answer: the pause was not reset", n)
		}
		cancel()
		<-watched
	})
}
