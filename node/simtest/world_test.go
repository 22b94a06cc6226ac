package simtest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/causeway-mesh/causeway/mesh/memnet"
)

// link is a one-way path between two regions.
type link struct {
	delay time.Duration
	loss  float64 // of packets; streams repeat what is lost, so only packets feel it
	rate  int64   // bytes per second; 0 = no limit
}

// maxQueue is how long packets wait for a slow link before it drops them.
const maxQueue = 200 * time.Millisecond

// flow is a pair of hosts, by address.
type flow struct{ from, to string }

// traffic is what a tap sees: bytes as they leave a host, whether or not they arrive.
type traffic struct {
	flow
	stream bool // a stream's bytes; else a packet
	data   []byte
}

// world is the network of one simulation. Hosts stand in regions, links join regions. Everything
// random comes from the seed.
type world struct {
	mu     sync.Mutex
	rng    *rand.Rand
	hosts  map[string]*host
	links  map[flow]link // by region
	busy   map[flow]time.Time
	cut    map[flow]bool // by host
	net    *memnet.Net   // packets
	dialed int           // streams
	listen map[string]*streamListener
	conns  map[*streamConn]struct{}
	taps   []func(traffic)
	next   map[string]int
}

type host struct {
	ip     string
	region string
	down   bool // the process is gone
}

func newWorld(seed uint64) *world {
	w := &world{
		rng: rand.New(rand.NewPCG(seed, 1)), hosts: map[string]*host{}, links: map[flow]link{}, busy: map[flow]time.Time{}, cut: map[flow]bool{},
		listen: map[string]*streamListener{}, conns: map[*streamConn]struct{}{}, next: map[string]int{},
	}
	w.net = memnet.New(w.packet)
	return w
}

// defaultDelay is one way between regions without a link of their own, localDelay inside a region.
const (
	defaultDelay = 75 * time.Millisecond
	localDelay   = time.Millisecond
)

// listenPacket opens a host's UDP port, taking it over from a former process.
func (w *world) listenPacket(ip string, port int) *memnet.Conn {
	return w.net.Listen(&net.UDPAddr{IP: net.ParseIP(ip).To4(), Port: port})
}

// host adds a machine and gives its address. net is the first three bytes of it.
func (w *world) host(net, region string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next[net]++
	ip := fmt.Sprintf("%s.%d", net, w.next[net])
	w.hosts[ip] = &host{ip: ip, region: region}
	return ip
}

// setLink sets both ways between two regions.
func (w *world) setLink(a, b string, l link) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.links[flow{a, b}], w.links[flow{b, a}] = l, l
}

// tap shows all traffic from now on to f, which must not block nor keep the data.
func (w *world) tap(f func(traffic)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.taps = append(w.taps, f)
}

// partition cuts, or heals, every way between two sets of hosts. Packets are lost, streams wait.
func (w *world) partition(as, bs []string, on bool) {
	w.mu.Lock()
	for _, a := range as {
		for _, b := range bs {
			if a != b {
				w.cut[flow{a, b}], w.cut[flow{b, a}] = on, on
			}
		}
	}
	conns := w.streams()
	w.mu.Unlock()
	for _, c := range conns {
		c.in.nudge()
	}
}

func (w *world) streams() []*streamConn {
	out := make([]*streamConn, 0, len(w.conns))
	for c := range w.conns {
		out = append(out, c)
	}
	return out
}

// everybody is the address of every host.
func (w *world) everybody() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]string, 0, len(w.hosts))
	for ip := range w.hosts {
		out = append(out, ip)
	}
	return out
}

// crash ends a host's process as kill -9 does: its ports are closed, the peers of its streams are
// told so by the machine, and nobody by it.
func (w *world) crash(ip string) {
	w.mu.Lock()
	w.hosts[ip].down = true
	conns := w.streams()
	w.mu.Unlock()
	for _, c := range conns {
		if c.local.IP.String() == ip {
			c.reset()
		}
	}
}

// revive lets a new process start on a host.
func (w *world) revive(ip string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hosts[ip].down = false
}

// path is the way between two hosts as it is now. Caller holds mu.
func (w *world) path(from, to string) (l link, open bool) {
	a, b := w.hosts[from], w.hosts[to]
	if a == nil || b == nil {
		return link{}, false
	}
	if from == to {
		return link{}, !a.down
	}
	l, ok := w.links[flow{a.region, b.region}]
	if !ok {
		l = link{delay: defaultDelay}
		if a.region == b.region {
			l.delay = localDelay
		}
	}
	return l, !w.cut[flow{from, to}]
}

func (w *world) show(t traffic) {
	for _, f := range w.taps {
		f(t)
	}
}

// packet is the way of one packet.
func (w *world) packet(from *net.UDPAddr, to string, data []byte) (at time.Time, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	host, _, err := net.SplitHostPort(to)
	if err != nil {
		return at, false
	}
	src := from.IP.String()
	f := flow{src, host}
	if w.hosts[src].down {
		return at, false
	}
	w.show(traffic{flow: f, data: data})
	l, open := w.path(src, host)
	if !open || w.hosts[host].down || l.loss > 0 && w.rng.Float64() < l.loss {
		return at, false
	}
	at = time.Now()
	if l.rate > 0 {
		start := at
		if b := w.busy[f]; b.After(start) {
			start = b
		}
		if start.Sub(at) > maxQueue {
			return at, false
		}
		at = start.Add(time.Duration(int64(len(data)) * int64(time.Second) / l.rate))
		w.busy[f] = at
	}
	return at.Add(l.delay), true
}
