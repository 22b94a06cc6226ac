package dialect

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"strconv"
)

// Vector reads a JSON array of numbers, or a string that is base64 of little-endian float32; false
// when v is neither, is empty, or holds what is no finite float32.
func Vector(v []byte) ([]float32, bool) {
	if len(v) == 0 {
		return nil, false
	}
	if v[0] == '"' {
		return vectorOfBase64(Unquote(v))
	}
	if v[0] != '[' {
		return nil, false
	}
	out := make([]float32, 0, len(v)/12+1) // about what the vendors write for each
	for c := Walk(v); c.Next(); {
		f, err := strconv.ParseFloat(string(c.Value), 32)
		if err != nil || c.Value[0] != '-' && c.Value[0]-'0' > 9 {
			return nil, false
		}
		out = append(out, float32(f))
	}
	return out, len(out) > 0
}

func vectorOfBase64(s string) ([]float32, bool) {
	raw, err := base64.StdEncoding.DecodeString(s)
	if err != nil || len(raw) == 0 || len(raw)%4 != 0 {
		return nil, false
	}
	out := make([]float32, len(raw)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		if f := float64(out[i]); math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, false
		}
	}
	return out, true
}

// Vector writes an array of numbers, each in the shortest form that reads back as the same float32.
func (w *Writer) Vector(v []float32) {
	w.Open('[')
	for _, f := range v {
		w.sep()
		w.buf = strconv.AppendFloat(w.buf, float64(f), 'g', -1, 32)
	}
	w.Close(']')
}

// VectorBase64 writes a string that is base64 of little-endian float32.
func (w *Writer) VectorBase64(v []float32) {
	raw := make([]byte, 0, 4*len(v))
	for _, f := range v {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(f))
	}
	w.sep()
	w.buf = append(w.buf, '"')
	w.buf = base64.StdEncoding.AppendEncode(w.buf, raw)
	w.buf = append(w.buf, '"')
}
