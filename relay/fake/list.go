package fake

import (
	"net/http"
	"strconv"
	"strings"
)

// vendorModels are the names that a vendor would list: its own, and the fake ones.
func (v vendor) vendorModels() []string {
	var out []string
	for _, name := range models {
		own := !strings.HasPrefix(name, "claude") && !strings.HasPrefix(name, "gemini")
		switch v {
		case vendorAnthropic:
			own = strings.HasPrefix(name, "claude")
		case vendorGoogle:
			own = strings.HasPrefix(name, "gemini") || name == "text-embedding-004"
		}
		if own || strings.HasPrefix(name, "fake") {
			out = append(out, name)
		}
	}
	return append(out, failures[:]...)
}

func (v vendor) appendModel(b []byte, name string) []byte {
	switch v {
	case vendorAnthropic:
		b = appendString(append(b, `{"type":"model","id":`...), name)
		b = appendString(append(b, `,"display_name":`...), name)
		return append(b, `,"created_at":"2026-11-22T00:00:00Z"}`...)
	case vendorGoogle:
		b = appendString(append(b, `{"name":`...), "models/"+name)
		b = appendString(append(b, `,"version":"001","displayName":`...), name)
		b = strconv.AppendInt(append(b, `,"inputTokenLimit":`...), googleContext, 10)
		b = append(b, `,"outputTokenLimit":65536,"supportedGenerationMethods":`...)
		if strings.Contains(name, "embed") {
			return append(b, `["embedContent","batchEmbedContents"]}`...)
		}
		return append(b, `["generateContent","countTokens","createCachedContent","batchGenerateContent"]}`...)
	default:
		b = appendString(append(b, `{"id":`...), name)
		b = strconv.AppendInt(append(b, `,"object":"model","created":`...), fakeEpoch, 10)
		return append(b, `,"owned_by":"causeway-fake"}`...)
	}
}

// list answers GET of the models list, in the vendor's form and on one page.
func (x *exchange) list() *problem {
	names := x.v.vendorModels()
	b := make([]byte, 0, 4<<10)
	switch x.v {
	case vendorAnthropic:
		b = append(b, `{"data":[`...)
	case vendorGoogle:
		b = append(b, `{"models":[`...)
	default:
		b = append(b, `{"object":"list","data":[`...)
	}
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = x.v.appendModel(b, name)
	}
	b = append(b, ']')
	if x.v == vendorAnthropic {
		b = appendString(append(b, `,"has_more":false,"first_id":`...), names[0])
		b = appendString(append(b, `,"last_id":`...), names[len(names)-1])
	}
	x.json(http.StatusOK, append(b, '}'))
	return nil
}

// one answers GET of a single model.
func (x *exchange) one(name string) *problem {
	if !known(name) {
		switch x.v {
		case vendorAnthropic:
			return &problem{status: http.StatusNotFound, message: "model: " + clip(name, 100)}
		case vendorGoogle:
			return &problem{status: http.StatusNotFound, message: "Model is not found: models/" + clip(name, 100) + " for api version v1beta"}
		}
		return x.openAIModel(name, http.StatusNotFound)
	}
	x.json(http.StatusOK, x.v.appendModel(nil, name))
	return nil
}
