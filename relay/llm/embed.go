package llm

// EmbedRequest asks for vectors: one for each input, in their order.
type EmbedRequest struct {
	From   Dialect // the client's
	Op     Op      // OpEmbed, or OpEmbedBatch for Gemini's list
	Model  string  // as the client wrote it
	Inputs []EmbedInput
	Base64 bool   // the client wants vectors as base64 of little-endian float32 (OpenAI's encoding_format)
	User   string // the end user's id
	Extra  Extra
}

// EmbedInput is what one vector is made of: text and media, or token ids.
type EmbedInput struct {
	Content Message // of no role
	Tokens  Raw     // JSON array of token ids, which belong to one vendor's tokenizer
	Config  EmbedConfig
	At      string // JSON pointer to it in the client's body
	Extra   Extra
}

// EmbedConfig is how an input becomes a vector.
type EmbedConfig struct {
	Dims  Opt[int64] // length of the vector
	Task  string     // what the vector is for, in Gemini's words
	Title string     // of the text
	At    string     // JSON pointer to the object that states these; "" = the body itself
	Extra Extra      // unknown members of that object, where it is one of its own
}

// EmbedResponse is one whole answer with vectors.
type EmbedResponse struct {
	From     Dialect     // the provider's
	Vectors  [][]float32 // one for each input, in their order; every value is finite
	Usage    Usage       // input tokens only
	HasUsage bool        // the provider stated Usage; else it is an estimate or zero
	Extra    Extra
}

// EachText calls f for every text that becomes part of a vector.
func (r *EmbedRequest) EachText(f func(text string)) {
	for i := range r.Inputs {
		in := &r.Inputs[i]
		f(in.Config.Title)
		for j := range in.Content.Parts {
			f(in.Content.Parts[j].Text)
		}
	}
}
