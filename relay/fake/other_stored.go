package fake

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
)

// messageBatches answers /v1/messages/batches. A batch is done at once.
func (x *exchange) messageBatches(rest []string) func() *problem {
	method := x.r.Method
	switch {
	case len(rest) == 0 && method == http.MethodPost:
		return func() *problem {
			var out []byte
			n := 0
			var wrong *problem
			err := readObject(x.body, func(r *reader, key []byte) {
				if string(key) != "requests" {
					r.unknown(key)
					return
				}
				r.array(func(int) {
					id, params := "", false
					r.object(func(key []byte) {
						switch string(key) {
						case "custom_id":
							id = r.str()
						case "params":
							params = true
							r.skip()
						default:
							r.unknown(key)
						}
					})
					if id == "" || !params {
						wrong = bad("requests.%d: custom_id and params are required", n)
					}
					n++
					out = append(appendString(append(out, `{"custom_id":`...), id), `,"result":{"type":"succeeded","message":{"id":"msg_fake","type":"message","role":"assistant","model":"fake","content":[{"type":"text","text":"done"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}}}}`+"\n"...)
				})
			})
			switch {
			case err != nil:
				return x.v.problemOf(err)
			case wrong != nil:
				return wrong
			case n == 0:
				return bad("requests: List should have at least 1 item")
			}
			t := &thing{kind: "message batch", id: x.newID("msgbatch_"), data: out}
			b := append(appendString([]byte(`{"id":`), t.id), `,"type":"message_batch","processing_status":"ended","request_counts":{"processing":0,"succeeded":`...)
			b = append(strconv.AppendInt(b, int64(n), 10), `,"errored":0,"canceled":0,"expired":0},"ended_at":"2026-11-22T00:00:01Z","created_at":"2026-11-22T00:00:00Z","expires_at":"2026-11-23T00:00:00Z","archived_at":null,"cancel_initiated_at":null,"results_url":`...)
			t.object = append(appendString(b, "http://"+x.r.Host+"/v1/messages/batches/"+t.id+"/results"), '}')
			x.keep(t)
			return x.show(t, "batch", t.id)
		}
	case len(rest) == 0:
		return when(method == http.MethodGet, func() *problem { return x.page(x.all("message batch", "")) })
	case len(rest) == 1 && method == http.MethodGet, len(rest) == 2 && rest[1] == "cancel" && method == http.MethodPost:
		return func() *problem { return x.show(x.find("message batch", rest[0]), "batch", rest[0]) }
	case len(rest) == 1 && method == http.MethodDelete:
		return func() *problem {
			if !x.forget("message batch", rest[0]) {
				return x.missing("batch", rest[0])
			}
			x.json(http.StatusOK, append(appendString([]byte(`{"id":`), rest[0]), `,"type":"message_batch_deleted"}`...))
			return nil
		}
	case len(rest) == 2 && rest[1] == "results" && method == http.MethodGet:
		return func() *problem {
			t := x.find("message batch", rest[0])
			if t == nil {
				return x.missing("batch", rest[0])
			}
			return x.raw(t.data, "application/x-jsonl")
		}
	}
	return nil
}

// googleUpload answers Google's resumable uploads: start, then pieces until finalize.
func (x *exchange) googleUpload() *problem {
	h := x.r.Header
	if id := x.r.URL.Query().Get("upload_id"); id != "" {
		t := x.find("upload", id)
		if t == nil {
			return x.missing("upload", id)
		}
		if h.Get("X-Goog-Upload-Offset") != strconv.Itoa(len(t.data)) {
			return bad("The offset is %s, %d bytes are here.", clip(h.Get("X-Goog-Upload-Offset"), 20), len(t.data))
		}
		grown := *t
		grown.data = append(bytes.Clone(t.data), x.body...)
		if !strings.Contains(h.Get("X-Goog-Upload-Command"), "finalize") {
			x.keep(&grown)
			x.w.Header()["X-Goog-Upload-Status"] = []string{"active"}
			return x.raw(nil, "text/plain; charset=utf-8")
		}
		x.forget("upload", id)
		name := x.newID("")
		b := appendString([]byte(`{"name":`), "files/"+name)
		b = appendString(append(b, `,"mimeType":`...), string(t.object))
		b = append(b, `,"sizeBytes":"`+strconv.Itoa(len(grown.data))+`","createTime":"2026-11-22T00:00:00Z","updateTime":"2026-11-22T00:00:00Z","expirationTime":"2026-11-24T00:00:00Z","state":"ACTIVE","source":"UPLOADED","uri":`...)
		b = append(appendString(b, "http://"+x.r.Host+"/v1beta/files/"+name), '}')
		x.keep(&thing{kind: "files", id: name, object: b, data: grown.data})
		x.w.Header()["X-Goog-Upload-Status"] = []string{"final"}
		x.json(http.StatusOK, append(append([]byte(`{"file":`), b...), '}'))
		return nil
	}
	if h.Get("X-Goog-Upload-Protocol") != "resumable" || h.Get("X-Goog-Upload-Command") != "start" {
		return bad("Only resumable uploads are taken: X-Goog-Upload-Protocol: resumable, X-Goog-Upload-Command: start.")
	}
	t := &thing{kind: "upload", id: x.newID("AHmfake"), object: []byte(h.Get("X-Goog-Upload-Header-Content-Type"))}
	x.keep(t)
	x.w.Header()["X-Goog-Upload-Status"] = []string{"active"}
	x.w.Header()["X-Goog-Upload-Url"] = []string{"http://" + x.r.Host + "/upload/v1beta/files?upload_id=" + t.id + "&upload_protocol=resumable"}
	return x.raw(nil, "text/plain; charset=utf-8")
}

// googleStored answers /v1beta/files and /v1beta/cachedContents.
func (x *exchange) googleStored(kind, id string) func() *problem {
	method := x.r.Method
	id, download := strings.CutSuffix(id, ":download")
	switch {
	case id == "" && method == http.MethodGet:
		return func() *problem {
			b := []byte(`{"` + kind + `":[`)
			for i, t := range x.all(kind, "") {
				if i > 0 {
					b = append(b, ',')
				}
				b = append(b, t.object...)
			}
			x.json(http.StatusOK, append(b, `]}`...))
			return nil
		}
	case id == "" && method == http.MethodPost && kind == "cachedContents":
		return func() *problem {
			m, p := x.members("model contents systemInstruction tools toolConfig ttl expireTime displayName")
			if p != nil {
				return p
			}
			model, ok := strings.CutPrefix(text(m["model"]), "models/")
			if !ok || !known(model) {
				return bad("Model is not found: %s", clip(text(m["model"]), 100))
			}
			t := &thing{kind: kind, id: x.newID("")}
			b := appendString([]byte(`{"name":`), "cachedContents/"+t.id)
			t.object = append(append(append(b, `,"model":`...), m["model"]...), `,"createTime":"2026-11-22T00:00:00Z","expireTime":"2026-11-22T01:00:00Z","usageMetadata":{"totalTokenCount":4096}}`...)
			x.keep(t)
			return x.show(t, kind, t.id)
		}
	case id != "" && method == http.MethodGet:
		return func() *problem {
			t := x.find(kind, id)
			if t != nil && download {
				return x.raw(t.data, "application/octet-stream")
			}
			if t == nil { // Google does not tell what is missing from what is somebody else's
				return &problem{status: http.StatusForbidden, message: "You do not have permission to access the File " + clip(id, 100) + " or it may not exist."}
			}
			return x.show(t, kind, id)
		}
	case id != "" && method == http.MethodDelete:
		return func() *problem {
			if !x.forget(kind, id) {
				return &problem{status: http.StatusForbidden, message: "You do not have permission to access the File " + clip(id, 100) + " or it may not exist."}
			}
			x.json(http.StatusOK, []byte(`{}`))
			return nil
		}
	}
	return nil
}
