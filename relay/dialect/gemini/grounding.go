package gemini

import (
	"bytes"
	"unicode/utf8"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/llm"
	"github.com/causeway-mesh/causeway/relay/splice"
)

// readGrounding appends the citations in groundingMetadata: one for each source of each supported
// piece of the answer, or one a source when the vendor does not say what it supports.
func readGrounding(dst []llm.Citation, v, said []byte) []llm.Citation {
	var at [2]splice.Span
	if !dialect.Find(v, []string{"groundingChunks", "groundingSupports"}, at[:]) {
		return dst
	}
	var sources []llm.Citation
	for c := dialect.Walk(at[0].Of(v)); c.Next(); {
		var s llm.Citation
		for m := dialect.Walk(c.Value); m.Next(); {
			var f [4]splice.Span
			if !dialect.Find(m.Value, []string{"uri", "title", "text", "documentName"}, f[:]) {
				continue
			}
			s = llm.Citation{
				URL: text(f[0].Of(m.Value)), Title: text(f[1].Of(m.Value)), Quote: text(f[2].Of(m.Value)), File: text(f[3].Of(m.Value)),
			}
		}
		sources = append(sources, s)
	}
	placed := false
	for c := dialect.Walk(at[1].Of(v)); c.Next(); {
		var f [2]splice.Span
		if !dialect.Find(c.Value, []string{"segment", "groundingChunkIndices"}, f[:]) {
			continue
		}
		start, end := segment(f[0].Of(c.Value), said)
		for i := dialect.Walk(f[1].Of(c.Value)); i.Next(); {
			n, ok := dialect.Int(i.Value)
			if !ok || n < 0 || n >= int64(len(sources)) || len(dst) >= maxCitations {
				continue
			}
			s := sources[n]
			s.Start, s.End = start, end
			dst, placed = append(dst, s), true
		}
	}
	if !placed && len(dst)+len(sources) <= maxCitations {
		dst = append(dst, sources...)
	}
	return dst
}

// maxCitations bounds what one frame can make of sources times supports.
const maxCitations = 1 << 12

// readCitations appends those of citationMetadata: quotes from sources that the model recited.
func readCitations(dst []llm.Citation, v, said []byte) []llm.Citation {
	for m := dialect.Walk(v); m.Next(); {
		if n := string(m.Name); n != "citationSources" && n != "citations" {
			continue
		}
		for c := dialect.Walk(m.Value); c.Next() && len(dst) < maxCitations; {
			var f [2]splice.Span
			if !dialect.Find(c.Value, []string{"uri", "title"}, f[:]) {
				continue
			}
			s := llm.Citation{URL: text(f[0].Of(c.Value)), Title: text(f[1].Of(c.Value))}
			s.Start, s.End = segment(c.Value, said)
			dst = append(dst, s)
		}
	}
	return dst
}

// segment turns byte offsets into code points of what was said. Offsets that do not fit it (they
// belong to another part) are left out.
func segment(v, said []byte) (start, end llm.Opt[int64]) {
	var f [3]splice.Span
	if !dialect.Find(v, []string{"startIndex", "endIndex", "text"}, f[:]) || f[1].Empty() {
		return start, end
	}
	from, to := dialect.Count(f[0].Of(v)), dialect.Count(f[1].Of(v))
	if from >= to || to > int64(len(said)) {
		return start, end
	}
	if t := f[2].Of(v); len(t) > 0 && text(t) != string(said[from:to]) {
		return start, end
	}
	return llm.Some(int64(utf8.RuneCount(said[:from]))), llm.Some(int64(utf8.RuneCount(said[:to])))
}

// cited is a text part with its citations. part is its number in the content. In a stream, where clients
// join the texts of all frames, it is 0, and before is the length of the text that came earlier.
type cited struct {
	cs     []llm.Citation
	said   []byte
	part   int
	before int
}

// writeGrounding writes citations of any vendor as groundingMetadata, which Google's clients show as
// sources.
func writeGrounding(w *dialect.Writer, parts []cited) {
	w.Name("groundingMetadata")
	w.Open('{')
	w.Name("groundingChunks")
	w.Open('[')
	for _, p := range parts {
		for i := range p.cs {
			writeSource(w, &p.cs[i])
		}
	}
	w.Close(']')
	w.Name("groundingSupports")
	w.Open('[')
	n := int64(0)
	for _, p := range parts {
		for i := range p.cs {
			p.support(w, &p.cs[i], n)
			n++
		}
	}
	w.Close(']')
	w.Close('}')
}

func writeSource(w *dialect.Writer, c *llm.Citation) {
	w.Open('{')
	if c.Quote == "" && c.File == "" {
		w.Name("web")
	} else {
		w.Name("retrievedContext")
	}
	w.Open('{')
	for _, m := range [...]struct{ name, v string }{{"uri", c.URL}, {"title", c.Title}, {"text", c.Quote}, {"documentName", c.File}} {
		if m.v != "" {
			w.StrMember(m.name, m.v)
		}
	}
	w.Close('}')
	w.Close('}')
}

func (p cited) support(w *dialect.Writer, c *llm.Citation, n int64) {
	from, to := offset(p.said, c.Start.V), offset(p.said, c.End.V)
	if !c.Start.Set || !c.End.Set { // the whole part
		from, to = 0, len(p.said)
	}
	w.Open('{')
	if from >= 0 && from < to {
		w.Name("segment")
		w.Open('{')
		if p.part > 0 {
			w.IntMember("partIndex", int64(p.part))
		}
		if from+p.before > 0 {
			w.IntMember("startIndex", int64(from+p.before))
		}
		w.IntMember("endIndex", int64(to+p.before))
		w.Name("text")
		w.Text(p.said[from:to])
		w.Close('}')
	}
	w.Name("groundingChunkIndices")
	w.Open('[')
	w.Int(n)
	w.Close(']')
	w.Close('}')
}

// offset is where the n-th code point of b begins; -1 = it has fewer.
func offset(b []byte, n int64) int {
	at := 0
	for ; n > 0; n-- {
		if at >= len(b) {
			return -1
		}
		_, size := utf8.DecodeRune(b[at:])
		at += size
	}
	return at
}

// readLogprobs appends a logprobsResult.
func readLogprobs(dst []llm.Logprob, v []byte) []llm.Logprob {
	var at [2]splice.Span
	if !dialect.Find(v, []string{"chosenCandidates", "topCandidates"}, at[:]) {
		return dst
	}
	first := len(dst)
	for c := dialect.Walk(at[0].Of(v)); c.Next(); {
		token, value := tokenOf(c.Value)
		dst = append(dst, llm.Logprob{Token: token, Value: value})
	}
	i := first
	for c := dialect.Walk(at[1].Of(v)); c.Next() && i < len(dst); i++ {
		for m := dialect.Walk(c.Value); m.Next(); {
			if string(m.Name) != "candidates" {
				continue
			}
			for t := dialect.Walk(m.Value); t.Next(); {
				token, value := tokenOf(t.Value)
				dst[i].Top = append(dst[i].Top, llm.TopLogprob{Token: token, Value: value})
			}
		}
	}
	return dst
}

func tokenOf(v []byte) (string, float64) {
	var f [2]splice.Span
	if !dialect.Find(v, []string{"token", "logProbability"}, f[:]) {
		return "", 0
	}
	p, err := float(bytes.TrimSpace(f[1].Of(v)), "")
	if err != nil {
		return text(f[0].Of(v)), 0
	}
	return text(f[0].Of(v)), p.V
}

func writeLogprobs(w *dialect.Writer, ls []llm.Logprob) {
	token := func(t string, v float64) {
		w.Open('{')
		w.StrMember("token", t)
		w.FloatMember("logProbability", v)
		w.Close('}')
	}
	w.Name("logprobsResult")
	w.Open('{')
	w.Name("topCandidates")
	w.Open('[')
	for i := range ls {
		w.Open('{')
		w.Name("candidates")
		w.Open('[')
		for _, t := range ls[i].Top {
			token(t.Token, t.Value)
		}
		w.Close(']')
		w.Close('}')
	}
	w.Close(']')
	w.Name("chosenCandidates")
	w.Open('[')
	for i := range ls {
		token(ls[i].Token, ls[i].Value)
	}
	w.Close(']')
	w.Close('}')
}
