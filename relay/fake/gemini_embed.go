package fake

import (
	"slices"
	"strconv"
	"strings"
)

// embedRequest is an EmbedContentRequest. Its settings may stand in an embedContentConfig too.
type embedRequest struct {
	embedInput
	content bool
	model   string
	task    string
	dims    int64
}

var taskTypes = []string{
	"", "TASK_TYPE_UNSPECIFIED", "RETRIEVAL_QUERY", "RETRIEVAL_DOCUMENT", "SEMANTIC_SIMILARITY", "CLASSIFICATION", "CLUSTERING",
	"QUESTION_ANSWERING", "FACT_VERIFICATION", "CODE_RETRIEVAL_QUERY",
}

func (q *embedRequest) member(r *reader, key []byte) {
	switch camel(key) {
	case "content":
		g := &geminiRequest{}
		g.text(r, "user")
		q.hash, q.tokens, q.content = g.hash, g.tokens, true
	case "model":
		q.model = r.str()
	case "embedContentConfig":
		r.object(q.setting(r))
	default:
		q.setting(r)(key)
	}
}

func (q *embedRequest) setting(r *reader) func(key []byte) {
	return func(key []byte) {
		switch camel(key) {
		case "taskType":
			q.task = r.str()
		case "title":
			r.str()
		case "outputDimensionality":
			q.dims = r.int()
		case "autoTruncate", "documentOcr", "audioTrackExtraction":
			r.bool()
		default:
			r.unknown(key)
		}
	}
}

// check refuses what the vendor refuses. In a batch every entry names the model of the path.
func (q *embedRequest) check(model string, batch bool) *problem {
	const at = "* EmbedContentRequest."
	switch n := int64(dimensions(model)); {
	case batch && q.model == "":
		return bad("* BatchEmbedContentsRequest.requests: model is not specified\n")
	case q.model != "" && q.model != "models/"+model:
		return bad("* BatchEmbedContentsRequest.requests: the model %s must match the model of the request\n", clip(q.model, 100))
	case !q.content:
		return bad(at + "content: contents is not specified\n")
	case !slices.Contains(taskTypes, q.task):
		return bad("Invalid value at 'task_type' (type.googleapis.com/google.ai.generativelanguage.v1beta.TaskType), %q", clip(q.task, 40))
	case q.dims < 0 || q.dims > n:
		return bad(at+"output_dimensionality: must be between 1 and %d.\n", n)
	}
	return nil
}

// geminiEmbed answers embedContent and batchEmbedContents. Only the newer models state usage, as the
// vendor's do.
func (x *exchange) geminiEmbed(model, verb string) *problem {
	batch := verb == "batchEmbedContents"
	items := make([]embedRequest, 0, 1)
	err := readObject(x.body, func(r *reader, key []byte) {
		switch {
		case !batch:
			if len(items) == 0 {
				items = append(items, embedRequest{})
			}
			items[0].member(r, key)
		case string(key) == "requests":
			r.array(func(int) {
				var q embedRequest
				r.object(func(key []byte) { q.member(r, key) })
				items = append(items, q)
			})
		case string(key) == "model":
			r.str()
		default:
			r.unknown(key)
		}
	})
	switch {
	case err != nil:
		return x.v.problemOf(err)
	case !known(model):
		return geminiLost("v1beta", model, verb)
	case len(items) == 0:
		return bad("* BatchEmbedContentsRequest.requests: contents is not specified\n")
	case len(items) > 100:
		return bad("* BatchEmbedContentsRequest.requests: at most 100 requests can be in one batch\n")
	}
	b := make([]byte, 0, 1<<10)
	if batch {
		b = append(b, `{"embeddings":[`...)
	} else {
		b = append(b, `{"embedding":`...)
	}
	total := int64(0)
	for i := range items {
		q := &items[i]
		if p := q.check(model, batch); p != nil {
			return p
		}
		n := q.dims
		if n == 0 {
			n = int64(dimensions(model))
		}
		total += q.tokens
		b = append(appendVector(append(comma(b, len(`{"embeddings":[`)), `{"values":`...), q.vector(model, x.s.opt.Seed, int(n))), '}')
	}
	if batch {
		b = append(b, ']')
	}
	if strings.HasPrefix(model, "gemini-embedding-2") {
		b = append(strconv.AppendInt(append(b, `,"usageMetadata":{"promptTokenCount":`...), total, 10), '}')
	}
	if x.begin(model) {
		x.unary(&script{}, append(b, '}'))
	}
	return nil
}
