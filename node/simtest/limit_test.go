package simtest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/causeway-mesh/causeway/coordinator/state"
	"github.com/causeway-mesh/causeway/relay/fake"
)

// use is something that counts against a limit.
type use struct {
	at     time.Time
	amount int64
}

// mostIn is the largest sum in any window, and where it begins.
func mostIn(window time.Duration, uses []use) (most int64, at time.Time) {
	slices.SortFunc(uses, func(a, b use) int { return a.at.Compare(b.at) })
	first, sum := 0, int64(0)
	for _, u := range uses {
		sum += u.amount
		for !u.at.Before(uses[first].at.Add(window)) {
			sum -= uses[first].amount
			first++
		}
		if sum > most {
			most, at = sum, uses[first].at
		}
	}
	return most, at
}

// The edges' static shares together never pass a limit, in any minute, however the load is spread,
// and most of the limit can be used.
func TestSharesNeverPassTheLimit(t *testing.T) {
	simulate(t, func(t *testing.T, m *Mesh) {
		p := m.AddProvider("p", us, fake.Options{})
		edges := []*Node{m.AddEdge(us), m.AddEdge(us), m.AddEdge(us)}
		m.AddExit(us)
		for _, tc := range []struct {
			why   string
			limit state.Limit
			most  int64
			count func(r Reply) int64
		}{
			{"requests", state.Limit{Tenant: "acme", RPM: 90}, 90, func(Reply) int64 { return 1 }},
			{"tokens", state.Limit{Tenant: "acme", TPM: 3000}, 3000, usage},
			{"requests of one key to one model", state.Limit{Tenant: "acme", Key: "app", Model: model, RPM: 50}, 50, func(Reply) int64 { return 1 }},
		} {
			doc := document([]string{model}, p)
			doc.Limits = []state.Limit{tc.limit}
			m.Apply(doc)
			m.Settle()
			rng := rand.New(rand.NewPCG(7, uint64(tc.most)))
			var uses []use
			limited := 0
			a := dialects[0].unary(model, "hello")
			a.body = strings.Replace(a.body, `{`, `{"max_tokens":60,`, 1)
			minutes := 5
			if slow {
				minutes = 2
			}
			for end := time.Now().Add(time.Duration(minutes) * time.Minute); time.Now().Before(end); {
				r := m.Request(edges[rng.IntN(3)], a)
				switch r.Status {
				case 200:
					uses = append(uses, use{r.Sent, tc.count(r)})
				case 429:
					limited++
					if r.Header.Get("Retry-After") == "" {
						t.Fatalf("%s: refused without Retry-After", tc.why)
					}
				default:
					t.Fatalf("%s: %d %s", tc.why, r.Status, r.Body)
				}
				if rng.IntN(50) == 0 {
					time.Sleep(time.Duration(rng.Int64N(int64(20 * time.Second)))) // bursts after pauses are what a bucket lets through
				} else {
					time.Sleep(time.Duration(rng.Int64N(int64(400 * time.Millisecond))))
				}
			}
			if most, at := mostIn(time.Minute, uses); most > tc.most {
				t.Errorf("%s: %d in the minute from %s, the limit is %d", tc.why, most, at.Format(time.TimeOnly), tc.most)
			}
			var sum int64
			for _, u := range uses {
				sum += u.amount
			}
			if limited == 0 || sum < tc.most*int64(minutes)/2 {
				t.Errorf("%s: %d used in %d minutes under a limit of %d, %d refused", tc.why, sum, minutes, tc.most, limited)
			}
		}
	})
}

func usage(r Reply) int64 {
	var v struct {
		Usage struct {
			Total int64 `json:"total_tokens"`
		} `json:"usage"`
	}
	if err := json.Unmarshal([]byte(r.Body), &v); err != nil {
		return 0
	}
	return v.Usage.Total
}

// The sum of running requests never passes a concurrency limit, and what ends makes room.
func TestConcurrencyIsShared(t *testing.T) {
	simulate(t, func(t *testing.T, m *Mesh) {
		p := m.AddProvider("p", us, fake.Options{TokenDelay: 100 * time.Millisecond})
		edges := []*Node{m.AddEdge(us), m.AddEdge(us), m.AddEdge(us)}
		m.AddExit(us)
		doc := document([]string{model}, p)
		doc.Limits = []state.Limit{{Tenant: "acme", Concurrency: 9}}
		m.Apply(doc)
		m.Settle()
		m.client(us)
		var most int64
		var wg sync.WaitGroup
		var mu sync.Mutex
		status := map[int]int{}
		for i := range 120 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 200 * time.Millisecond)
				r := <-m.Stream(edges[i%3], dialects[2].stream(model, fmt.Sprintf("fake:tokens=%d", 20+i%40)))
				mu.Lock()
				defer mu.Unlock()
				status[r.Status]++
				most = max(most, p.fake.Inflight())
			})
			if i%3 == 0 {
				most = max(most, p.fake.Inflight())
			}
		}
		for range 300 {
			time.Sleep(100 * time.Millisecond)
			mu.Lock()
			most = max(most, p.fake.Inflight())
			mu.Unlock()
		}
		wg.Wait()
		if most > 9 || most < 8 {
			t.Errorf("%d requests ran at once under a limit of 9", most)
		}
		if status[200] < 30 || status[429] == 0 || status[200]+status[429] != 120 {
			t.Errorf("answers: %v", status)
		}
		if r := m.Request(edges[0], dialects[2].unary(model, "hello")); r.Status != 200 {
			t.Errorf("afterwards: %d %s", r.Status, r.Body)
		}
	})
}
