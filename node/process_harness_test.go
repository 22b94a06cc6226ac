package node_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// deployment is a mesh of real processes on loopback.
type deployment struct {
	t    *testing.T
	dir  string
	bin  string
	env  []string // of CLI calls
	all  []*process
	http *http.Client
}

// process is one running `causeway`.
type process struct {
	name, data string
	cmd        *exec.Cmd
	log        string        // file that holds its stderr
	done       chan struct{} // closed when it has ended
	url        string        // client API of an edge, admin API of a coordinator
	ops        string
}

func newDeployment(t *testing.T) *deployment {
	d := &deployment{t: t, dir: t.TempDir(), http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	d.bin = filepath.Join(d.dir, "causeway")
	build := exec.Command("go", "build", "-o", d.bin, ".")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		for _, p := range d.all {
			_ = p.cmd.Process.Kill()
			<-p.done
			if t.Failed() {
				t.Logf("%s said:\n%s", p.name, p.said())
			}
		}
	})
	return d
}

// start runs a process until the test ends. Its stderr is also its log.
func (d *deployment) start(name string, args ...string) *process {
	d.t.Helper()
	p := &process{name: name, log: filepath.Join(d.dir, name+".log"), done: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		d.t.Fatal(err)
	}
	defer log.Close() // the process has its own
	p.cmd = exec.Command(d.bin, args...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.Env = cleanEnv()
	if err := p.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	d.all = append(d.all, p)
	return p
}

// said is the end of what a process wrote.
func (p *process) said() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-4000):])
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// run is one CLI call that must succeed; it returns standard output.
func (d *deployment) run(args ...string) string {
	d.t.Helper()
	out, said, code := d.try(args...)
	if code != 0 {
		d.t.Fatalf("causeway %s: exit code %d\n%s", strings.Join(args, " "), code, said)
	}
	return strings.TrimSpace(out)
}

// try is one CLI call with whatever result.
func (d *deployment) try(args ...string) (out, said string, code int) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 15*time.Second)
	defer cancel()
	var stdout, stderr bytes.Buffer
	c := exec.CommandContext(ctx, d.bin, args...)
	c.Env, c.Dir, c.Stdout, c.Stderr = append(cleanEnv(), d.env...), d.dir, &stdout, &stderr
	err := c.Run()
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return stdout.String(), stderr.String(), e.ExitCode()
	} else if err != nil {
		d.t.Fatal(err)
	}
	return stdout.String(), stderr.String(), 0
}

func cleanEnv() []string {
	var out []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "CAUSEWAY_") {
			out = append(out, kv)
		}
	}
	return out
}

// within polls until ok, which returns what is still missing, or fails the test.
func (d *deployment) within(limit time.Duration, what string, missing func() string) {
	d.t.Helper()
	why := ""
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if why = missing(); why == "" {
			return
		}
	}
	d.t.Fatalf("%s: not within %s: %s", what, limit, why)
}

var adminURL = regexp.MustCompile(`admin API\s+(https://\S+)`)

// coordinator starts a member and waits until it says where its admin API is.
func (d *deployment) coordinator(name string, args ...string) *process {
	d.t.Helper()
	data := filepath.Join(d.dir, name)
	p := d.start(name, append(args, "--data", data, "--admin", "127.0.0.1:0", "--raft", "127.0.0.1:0", "--advertise", "127.0.0.1")...)
	p.data = data
	d.within(10*time.Second, name+" ready", func() string {
		if m := adminURL.FindStringSubmatch(p.said()); m != nil {
			p.url = m[1]
			return ""
		}
		if p.ended() {
			d.t.Fatalf("%s ended:\n%s", name, p.said())
		}
		return "it said: " + p.said()
	})
	return p
}

// node joins with a fresh token and starts; the token is returned, spent.
func (d *deployment) node(name, region, role, server string) (*process, string) {
	d.t.Helper()
	token := d.run("node", "token", "--region", region, "--role", role, "--node", name)
	data := filepath.Join(d.dir, name)
	d.run("node", "join", "--token", token, "--server", server, "--data", data)
	free := d.freePorts(3)
	p := d.start(name, "node", "run", "--data", data, "--tls", "off", "--drain", "5s", "--listen", free[0], "--ops", free[1], "--mesh", free[2])
	p.data, p.url, p.ops = data, "http://"+free[0], "http://"+free[1]
	return p, token
}

// freePorts are addresses that were free a moment ago.
func (d *deployment) freePorts(n int) (out []string) {
	d.t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			d.t.Fatal(err)
		}
		defer l.Close()
		out = append(out, l.Addr().String())
	}
	return out
}

// notReady says why a node is not, or "".
func (d *deployment) notReady(p *process) string {
	if p.ended() {
		d.t.Fatalf("%s ended:\n%s", p.name, p.said())
	}
	res, err := d.http.Get(p.ops + "/readyz?verbose")
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusOK {
		return p.name + ": " + string(b)
	}
	return ""
}

// members are the coordinators as `coordinator status` shows them.
type members struct {
	Voters  int `json:"voters"`
	Members []struct {
		ID     string `json:"id"`
		Leader bool   `json:"leader"`
		API    string `json:"api"`
	} `json:"members"`
}

func (d *deployment) status() (m members, err error) {
	out, said, code := d.try("coordinator", "status", "-o", "json")
	if code != 0 {
		return m, fmt.Errorf("exit code %d: %s", code, said)
	}
	return m, json.Unmarshal([]byte(out), &m)
}

// terminate sends SIGTERM and wants a clean end.
func (d *deployment) terminate(p *process) {
	d.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		d.t.Errorf("stop %s: %v", p.name, err)
	}
	select {
	case <-p.done:
		if code := p.cmd.ProcessState.ExitCode(); code != 0 {
			d.t.Errorf("%s ended with exit code %d after SIGTERM:\n%s", p.name, code, p.said())
		}
	case <-time.After(15 * time.Second):
		d.t.Errorf("%s did not end within 15 s of SIGTERM", p.name)
	}
}

// reply is what a client saw of one request.
type reply struct {
	status  int
	content int  // content chunks of a stream
	done    bool // the answer is complete
	told    bool // a broken stream ended with an error event
	route   string
	err     error
}

// ok: complete, or broken after content with a word about it.
func (a reply) ok() bool {
	return a.err == nil && a.status == http.StatusOK && (a.done || a.content > 0 && a.told)
}

func (a reply) String() string {
	return fmt.Sprintf("status %d, %d chunks, done %v, told %v, %s, %v", a.status, a.content, a.done, a.told, a.route, a.err)
}

// ask sends one chat request, without any retry of its own.
func (d *deployment) ask(ctx context.Context, p *process, key string, stream bool, tokens int, header ...string) (a reply) {
	body := fmt.Sprintf(`{"model":"m","stream":%v,"messages":[{"role":"user","content":"fake:tokens=%d"}]}`, stream, tokens)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		return reply{err: err}
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := d.http.Do(req)
	if err != nil {
		return reply{err: err}
	}
	defer res.Body.Close()
	a.status, a.route = res.StatusCode, res.Header.Get("X-Causeway-Route")
	b, err := io.ReadAll(res.Body)
	if err != nil {
		a.err = fmt.Errorf("read the answer: %w", err)
		return a
	}
	switch {
	case a.status != http.StatusOK:
		a.err = fmt.Errorf("%s", b)
	case stream:
		a.content = bytes.Count(b, []byte(`"content":"`))
		a.done = bytes.HasSuffix(b, []byte("data: [DONE]\n\n")) && a.content >= tokens
		a.told = bytes.Contains(b, []byte(`data: {"error":`))
	default:
		a.done = json.Valid(b) && bytes.Contains(b, []byte(`"finish_reason"`))
	}
	return a
}
