package fake

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// files answers /v1/files of OpenAI and of Anthropic.
func (x *exchange) files(rest []string) func() *problem {
	method := x.r.Method
	switch {
	case len(rest) == 0 && method == http.MethodPost:
		return func() *problem {
			u, p := x.form("purpose expires_after expires_after[anchor] expires_after[seconds] expires_in_seconds", "file")
			if p != nil {
				return p
			}
			if len(u.files["file"]) != 1 || x.v == vendorOpenAI && u.get("purpose") == "" {
				return badParam("file", "missing_required_parameter", "Missing required parameter: 'file' and 'purpose'.")
			}
			f := u.files["file"][0]
			t := x.newFile(f.name, u.get("purpose"), f.data)
			return x.show(t, "File object", t.id)
		}
	case len(rest) == 0:
		return when(method == http.MethodGet, func() *problem { return x.page(x.all("file", "")) })
	case len(rest) == 1 && method == http.MethodGet:
		return func() *problem { return x.show(x.find("file", rest[0]), "File object", rest[0]) }
	case len(rest) == 1 && method == http.MethodDelete:
		return func() *problem {
			if !x.forget("file", rest[0]) {
				return x.missing("File object", rest[0])
			}
			b := appendString([]byte(`{"id":`), rest[0])
			if x.v == vendorAnthropic {
				x.json(http.StatusOK, append(b, `,"type":"file_deleted"}`...))
			} else {
				x.json(http.StatusOK, append(b, `,"object":"file","deleted":true}`...))
			}
			return nil
		}
	case len(rest) == 2 && rest[1] == "content" && method == http.MethodGet:
		return func() *problem {
			t := x.find("file", rest[0])
			if t == nil {
				return x.missing("File object", rest[0])
			}
			return x.raw(t.data, "application/octet-stream")
		}
	}
	return nil
}

func (x *exchange) newFile(name, purpose string, data []byte) *thing {
	size := strconv.Itoa(len(data))
	t := &thing{kind: "file", data: bytes.Clone(data)}
	if x.v == vendorAnthropic {
		t.id = x.newID("file_")
		t.object = appendString(append(appendString([]byte(`{"type":"file","id":`), t.id), `,"filename":`...), name)
		t.object = append(t.object, `,"mime_type":"application/octet-stream","size_bytes":`+size+`,"created_at":"2026-11-22T00:00:00Z","downloadable":true}`...)
	} else {
		t.id = x.newID("file-")
		t.object = appendString(append(appendString([]byte(`{"id":`), t.id), `,"object":"file","bytes":`+size+`,"created_at":`+strconv.FormatInt(fakeEpoch, 10)+`,"filename":`...), name)
		t.object = append(appendString(append(t.object, `,"purpose":`...), purpose), `,"status":"processed"}`...)
	}
	x.keep(t)
	return t
}

// uploads answers POST below /v1/uploads: parts are put together in the order that complete states.
func (x *exchange) uploads(rest []string) func() *problem {
	object := func(t *thing, status, file string) []byte {
		b := append(appendString([]byte(`{"id":`), t.id), `,"object":"upload","created_at":`+strconv.FormatInt(fakeEpoch, 10)+`,"expires_at":`+strconv.FormatInt(fakeEpoch+3600, 10)...)
		b = appendString(append(b, `,"status":`...), status)
		b = append(append(b, ','), bytes.Trim(t.object, "{}")...)
		return append(append(append(b, `,"file":`...), file...), '}')
	}
	if len(rest) == 0 {
		return func() *problem {
			m, p := x.members("filename purpose bytes mime_type expires_after")
			if p != nil {
				return p
			}
			if text(m["filename"]) == "" || text(m["purpose"]) == "" || m["bytes"].Kind() != jsontext.KindNumber || text(m["mime_type"]) == "" {
				return bad("Missing required parameter: 'filename', 'purpose', 'bytes' and 'mime_type'.")
			}
			b := append(append([]byte(`{"filename":`), m["filename"]...), `,"purpose":`...)
			b = append(append(append(append(b, m["purpose"]...), `,"bytes":`...), m["bytes"]...), '}')
			t := &thing{kind: "upload", id: x.newID("upload_"), object: b}
			x.keep(t)
			x.json(http.StatusOK, object(t, "pending", "null"))
			return nil
		}
	}
	if len(rest) != 2 {
		return nil
	}
	return func() *problem {
		t := x.find("upload", rest[0])
		if t == nil {
			return x.missing("Upload", rest[0])
		}
		switch rest[1] {
		case "parts":
			u, p := x.form("", "data")
			if p != nil {
				return p
			}
			if len(u.files["data"]) != 1 {
				return badParam("data", "missing_required_parameter", "Missing required parameter: 'data'.")
			}
			part := &thing{kind: "part", id: x.newID("part_"), of: t.id, data: u.files["data"][0].data}
			x.keep(part)
			b := appendString(append(appendString([]byte(`{"id":`), part.id), `,"object":"upload.part","created_at":1795305600,"upload_id":`...), t.id)
			x.json(http.StatusOK, append(b, '}'))
			return nil
		case "complete":
			m, p := x.members("part_ids md5")
			if p != nil {
				return p
			}
			var data []byte
			walkArray(m["part_ids"], func(r *reader) {
				id := r.str()
				part := x.find("part", id)
				if part == nil || part.of != t.id {
					p = x.missing("Part", id)
					return
				}
				data = append(data, part.data...)
			})
			if p != nil {
				return p
			}
			var name, purpose string
			var size int64
			walk(t.object, func(r *reader, key []byte) {
				switch string(key) {
				case "filename":
					name = r.str()
				case "purpose":
					purpose = r.str()
				default:
					size = r.int()
				}
			})
			if size != int64(len(data)) {
				return bad("The parts hold %d bytes, but the upload was announced with %d.", len(data), size)
			}
			x.json(http.StatusOK, object(t, "completed", string(x.newFile(name, purpose, data).object)))
			x.forget("upload", t.id)
			return nil
		case "cancel":
			x.forget("upload", t.id)
			x.json(http.StatusOK, object(t, "cancelled", "null"))
			return nil
		}
		return x.missing("path", rest[1])
	}
}

// batches answers /v1/batches. A batch is done at once: each line of its file gets an answer.
func (x *exchange) batches(rest []string) func() *problem {
	method := x.r.Method
	switch {
	case len(rest) == 0 && method == http.MethodPost:
		return func() *problem {
			m, p := x.members("input_file_id endpoint completion_window metadata output_expires_after")
			if p != nil {
				return p
			}
			in := x.find("file", text(m["input_file_id"]))
			switch {
			case in == nil:
				return x.missing("File object", text(m["input_file_id"]))
			case !strings.HasPrefix(text(m["endpoint"]), "/v1/"):
				return badParam("endpoint", "invalid_value", "Invalid value: 'endpoint'.")
			case text(m["completion_window"]) != "24h":
				return badParam("completion_window", "invalid_value", "Invalid value: 'completion_window'. Supported values are: '24h'.")
			}
			var out []byte
			n := 0
			for line := range bytes.Lines(in.data) {
				custom := ""
				walk(bytes.TrimSpace(line), func(r *reader, key []byte) {
					if string(key) == "custom_id" {
						custom = r.str()
					} else {
						r.skip()
					}
				})
				if custom == "" {
					return bad("A line of the input file has no custom_id.")
				}
				n++
				out = append(appendString(append(out, `{"id":"batch_req_1","custom_id":`...), custom), `,"response":{"status_code":200,"request_id":"req_fake","body":{}},"error":null}`+"\n"...)
			}
			t := &thing{kind: "batch", id: x.newID("batch_")}
			b := append(appendString([]byte(`{"id":`), t.id), `,"object":"batch","endpoint":`...)
			b = append(append(append(b, m["endpoint"]...), `,"input_file_id":`...), m["input_file_id"]...)
			b = appendString(append(b, `,"completion_window":"24h","status":"completed","created_at":1795305600,"output_file_id":`...), x.newFile("output.jsonl", "batch_output", out).id)
			total := strconv.Itoa(n)
			t.object = append(b, `,"error_file_id":null,"request_counts":{"total":`+total+`,"completed":`+total+`,"failed":0}}`...)
			x.keep(t)
			return x.show(t, "batch", t.id)
		}
	case len(rest) == 0:
		return when(method == http.MethodGet, func() *problem { return x.page(x.all("batch", "")) })
	case len(rest) == 1:
		return when(method == http.MethodGet, func() *problem { return x.show(x.find("batch", rest[0]), "batch", rest[0]) })
	case len(rest) == 2 && rest[1] == "cancel" && method == http.MethodPost:
		return func() *problem {
			if x.find("batch", rest[0]) == nil {
				return x.missing("batch", rest[0])
			}
			return &problem{status: http.StatusConflict, message: "Cannot cancel a batch with status 'completed'."}
		}
	}
	return nil
}

// conversations answers /v1/conversations and one of them.
func (x *exchange) conversations(rest []string) func() *problem {
	method := x.r.Method
	switch {
	case len(rest) == 0 && method == http.MethodPost:
		return func() *problem {
			m, p := x.members("items metadata")
			if p != nil {
				return p
			}
			t := &thing{kind: "conversation", id: x.newID("conv_")}
			b := append(appendString([]byte(`{"id":`), t.id), `,"object":"conversation","created_at":1795305600,"metadata":`...)
			t.object = append(appendRaw(b, m["metadata"], "{}"), '}')
			x.keep(t)
			return x.show(t, "conversation", t.id)
		}
	case len(rest) == 1 && method == http.MethodGet:
		return func() *problem { return x.show(x.find("conversation", rest[0]), "conversation", rest[0]) }
	case len(rest) == 1 && method == http.MethodDelete:
		return func() *problem {
			if !x.forget("conversation", rest[0]) {
				return x.missing("conversation", rest[0])
			}
			x.json(http.StatusOK, append(appendString([]byte(`{"id":`), rest[0]), `,"object":"conversation.deleted","deleted":true}`...))
			return nil
		}
	}
	return nil
}

// recall finds what the request continues, or says that it is not there.
func (x *exchange) recall(q *responsesRequest) *problem {
	if id := text(q.previous); id != "" {
		t := x.find("response", id)
		if t == nil {
			return badParam("previous_response_id", "previous_response_not_found", "Previous response with id '%s' not found.", clip(id, 100))
		}
		q.hash = mix(q.hash, id)
		q.tokens += int64(len(t.object)) / 4
	}
	id := text(q.conversation)
	if q.conversation.Kind() == jsontext.KindBeginObject {
		walk(q.conversation, func(r *reader, _ []byte) { id = r.str() })
	}
	if id != "" && x.find("conversation", id) == nil {
		return &problem{status: http.StatusNotFound, message: "Conversation with id '" + clip(id, 100) + "' not found."}
	}
	return nil
}

// keep stores the response, unless the client did not want that.
func (w *responsesWriter) keep(object []byte) {
	if w.q.store == "true" {
		w.x.keep(&thing{kind: "response", id: w.id, object: bytes.Clone(object)})
	}
}

// keptResponse answers for one stored response.
func (x *exchange) keptResponse(rest []string) func() *problem {
	method := x.r.Method
	lost := func() *problem {
		return &problem{status: http.StatusNotFound, message: "Response with id '" + clip(rest[0], 100) + "' not found."}
	}
	with := func(f func(t *thing) *problem) func() *problem {
		return func() *problem {
			if t := x.find("response", rest[0]); t != nil {
				return f(t)
			}
			return lost()
		}
	}
	switch {
	case len(rest) == 1 && method == http.MethodGet && x.r.URL.Query().Get("stream") == "true":
		return with(func(t *thing) *problem {
			x.stream("text/event-stream; charset=utf-8", nil)
			for i, name := range []string{"response.created", "response.completed"} {
				b := append([]byte("event: "+name+"\ndata: {\"type\":\""+name+"\",\"response\":"), t.object...)
				x.send(append(strconv.AppendInt(append(b, `,"sequence_number":`...), int64(i), 10), "}\n\n"...))
			}
			return nil
		})
	case len(rest) == 1 && method == http.MethodGet:
		return with(func(t *thing) *problem { return x.show(t, "", "") })
	case len(rest) == 1 && method == http.MethodDelete:
		return func() *problem {
			if !x.forget("response", rest[0]) {
				return lost()
			}
			x.json(http.StatusOK, append(appendString([]byte(`{"id":`), rest[0]), `,"object":"response","deleted":true}`...))
			return nil
		}
	case len(rest) == 2 && rest[1] == "input_items" && method == http.MethodGet:
		return with(func(*thing) *problem { return x.page(nil) })
	case len(rest) == 2 && rest[1] == "cancel" && method == http.MethodPost:
		return with(func(t *thing) *problem {
			if !bytes.Contains(t.object, []byte(`"background":true`)) {
				return bad("Cannot cancel a synchronous response.")
			}
			done := *t
			done.object = bytes.Replace(t.object, []byte(`"status":"queued"`), []byte(`"status":"cancelled"`), 1)
			x.keep(&done)
			return x.show(&done, "", "")
		})
	}
	return nil
}
