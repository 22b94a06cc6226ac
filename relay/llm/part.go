package llm

// PartKind is what a part is.
type PartKind uint8

// Kinds of parts.
const (
	PartText     PartKind = iota
	PartThinking          // Text is the thinking or its summary; Redacted has none
	PartRefusal
	PartCall   // ID, Name, Text = arguments
	PartResult // ID of the call, Name, Content, IsError
	PartImage  // Media, as the next three
	PartDocument
	PartAudio
	PartVideo
	PartOpaque // Opaque only: no meaning outside its own dialect
)

// String names k for dumps.
func (k PartKind) String() string { return name(partNames[:], uint8(k)) }

var partNames = [...]string{"text", "thinking", "refusal", "call", "result", "image", "document", "audio", "video", "opaque"}

// Streams reports whether the text of such a part comes as deltas. All others come whole.
func (k PartKind) Streams() bool { return k <= PartCall }

// Part is one piece of a message.
type Part struct {
	Kind PartKind
	// Text is the text of text, thinking and refusal. Of a call it is the arguments: JSON text exactly
	// as the model wrote it ("" = none stated, same as {}), free text when Custom.
	Text     string
	ID       string // call: its id; result: the call's id
	Name     string // call and result: the function's name
	Custom   bool   // call and result: of a custom (free-form) tool
	IsError  bool   // result
	Redacted bool   // thinking that the vendor hides; the Seal is all there is
	Content  []Part // result: text and media
	Media    *Media
	// Seal is what the vendor wants back unchanged with this part: a thinking signature, redacted
	// data, encrypted reasoning, a Gemini thought signature (on any kind of part).
	Seal *Seal
	// Opaque is the part in its own dialect, byte for byte. An encoder of that dialect writes it
	// instead of anything else here; others use the rest, or report a loss for PartOpaque.
	Opaque    *Opaque
	Citations []Citation
	Cache     CacheTTL
	At        string // JSON pointer to it in the client's body; "" in answers
	Extra     Extra
}

// Args is the arguments of a call as a JSON value, {} when there are none.
func (p *Part) Args() string {
	if p.Text == "" && !p.Custom {
		return "{}"
	}
	return p.Text
}

// Media is an image, a document, audio or video. Exactly one of Data, URL, FileID and Text is given.
type Media struct {
	Type   string // MIME type; "" = not stated
	Data   []byte // base64 text in the standard alphabet with padding, checked; may alias the body
	URL    string // http(s), or a vendor's own scheme (gs://)
	FileID string // file at the vendor of the client's dialect; never valid elsewhere
	Text   string // a document that is plain text
	Name   string // file name or title
	Detail string // OpenAI low, high, auto, original
	Note   string // Anthropic document context
	Cite   bool   // Anthropic: citations wanted
}

// Opaque is JSON of one dialect that is restored exactly to that dialect and means nothing to others.
type Opaque struct {
	Origin Dialect
	Scope  string // provider account it is bound to; "" = not known
	Type   string // the vendor's type name, for loss reports
	JSON   Raw
}

// Seal is a vendor's blob about its own thinking. It goes back to the vendor that made it or nowhere.
type Seal struct {
	Origin Dialect
	Scope  string // provider account it is bound to; "" = not known
	Data   []byte // the vendor's text, byte for byte, without JSON quoting
}

// For reports whether s may be sent to a provider of dialect d and account scope.
func (s *Seal) For(d Dialect, scope string) bool {
	return s != nil && s.Origin == d && (s.Scope == "" || scope == "" || s.Scope == scope)
}

// For is as Seal.For.
func (o *Opaque) For(d Dialect, scope string) bool {
	return o != nil && o.Origin == d && (o.Scope == "" || scope == "" || o.Scope == scope)
}

// Citation points from a text part to its source.
type Citation struct {
	URL    string
	Title  string
	Quote  string     // the cited text
	Start  Opt[int64] // in the part's text, in Unicode code points
	End    Opt[int64] // exclusive
	File   string     // file id or document name
	Opaque *Opaque    // the vendor's own form
}
