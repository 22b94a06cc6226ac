package llm

// Loss is one field that a conversion could not carry.
type Loss struct {
	Path   string // where in the client's request, as a JSON pointer
	From   Dialect
	To     Dialect
	Reason string
}

// Reasons of losses: a closed vocabulary, used as metric labels.
const (
	LostNoEquivalent = "no_equivalent"   // the provider's protocol has no such thing
	LostUnknown      = "unknown_member"  // we do not know it, so it could not be converted
	LostForeign      = "foreign_origin"  // bound to another vendor or account: signatures, files, server tools
	LostRange        = "out_of_range"    // clamped or cut to the provider's limits
	LostRewritten    = "rewritten"       // carried in a changed form: schema keywords, error flag as text
	LostModel        = "model_refuses"   // this model or API version does not take it
	LostCombination  = "not_in_this_use" // excluded by something else in the request
)

// Field is a top-level setting of a Request, for loss reports.
type Field uint8

// Fields.
const (
	FieldTemperature Field = iota + 1
	FieldTopP
	FieldTopK
	FieldFrequencyPenalty
	FieldPresencePenalty
	FieldSeed
	FieldStop
	FieldLogitBias
	FieldLogprobs
	FieldTopLogprobs
	FieldMaxOutput
	FieldN
	FieldFormat
	FieldToolChoice
	FieldParallel
	FieldEffort
	FieldBudget
	FieldShow
	FieldReasoningMode
	FieldVerbosity
	FieldUser
	FieldMetadata
	FieldServiceTier
	FieldStore
	FieldCacheKey
	FieldCache
	FieldDims // of an EmbedConfig, as the next two
	FieldTask
	FieldTitle
)

// LastField is the highest Field, for tables and their tests.
const LastField = FieldTitle
