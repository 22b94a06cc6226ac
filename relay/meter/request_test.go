package meter

import (
	"bytes"
	"encoding/base64"
	"image"
	"image/png"
	"strings"
	"testing"

	"github.com/causeway-mesh/causeway/relay/llm"
)

// TestCountKnowsScripts holds the estimator to o200k_base on the same sentence in other scripts, code
// and JSON. Words that are no words (base64) are the known weakness.
func TestCountKnowsScripts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text string
		want       int64
	}{
		{"English", "All human beings are born free and equal in dignity and rights. They are endowed with reason and conscience and should act towards one another in a spirit of brotherhood.", 33},
		{"German", "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft und Gewissen begabt und sollen einander im Geist der Brüderlichkeit begegnen.", 38},
		{"Polish", "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw. Są oni obdarzeni rozumem i sumieniem i powinni postępować wobec innych w duchu braterstwa.", 53},
		{"Vietnamese", "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền lợi. Mọi con người đều được tạo hoá ban cho lý trí và lương tâm và cần phải đối xử với nhau trong tình bằng hữu.", 51},
		{"Russian", "Все люди рождаются свободными и равными в своем достоинстве и правах. Они наделены разумом и совестью и должны поступать в отношении друг друга в духе братства.", 41},
		{"Greek", "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα.", 31},
		{"Hebrew", "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם. כולם חוננו בתבונה ובמצפון, לפיכך חובה עליהם לנהוג איש ברעהו ברוח של אחווה.", 50},
		{"Arabic", "يولد جميع الناس أحرارًا متساوين في الكرامة والحقوق. وقد وهبوا عقلاً وضميرًا وعليهم أن يعامل بعضهم بعضًا بروح الإخاء.", 44},
		{"Hindi", "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है। उन्हें बुद्धि और अन्तरात्मा की देन प्राप्त है और परस्पर उन्हें भाईचारे के भाव से बर्ताव करना चाहिए।", 54},
		{"Thai", "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ ต่างมีเหตุผลและมโนธรรม และควรปฏิบัติต่อกันด้วยเจตนารมณ์แห่งภราดรภาพ", 63},
		{"Chinese", "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。", 35},
		{"Japanese", "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。人間は、理性と良心とを授けられており、互いに同胞の精神をもって行動しなければならない。", 72},
		{"Korean", "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다. 인간은 천부적으로 이성과 양심을 부여받았으며 서로 형제애의 정신으로 행동하여야 한다.", 51},
		{"Go", "func (s *Server) Serve(x *exchange) error {\n\tif err := s.authenticate(x); err != nil {\n\t\treturn err\n\t}\n\tfor i := range o.Attempts {\n\t\ta := &o.Attempts[i]\n\t\tsum += a.Usage.Input + a.Usage.Output\n\t}\n\treturn nil\n}\n", 66},
		{"JSON", `{"type":"object","properties":{"location":{"type":"string","description":"The city and state, e.g. San Francisco, CA"},"unit":{"type":"string","enum":["celsius","fahrenheit"]}},"required":["location"]}`, 50},
		{"numbers", "3.14159265358979 1795000000 2026-11-22T10:33:07Z 192.168.100.254 0xDEADBEEF 9007199254740993", 47},
	} {
		if got := Count(c.text); got < c.want*3/4 || got > c.want*5/4+1 {
			t.Errorf("%s: %d, the tokenizer says %d", c.name, got, c.want)
		}
	}
}

func TestRequestCountsEveryPart(t *testing.T) {
	t.Parallel()
	shot := func(w, h int) []byte {
		var b bytes.Buffer
		if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, w, h))); err != nil {
			t.Fatal(err)
		}
		return []byte(base64.StdEncoding.EncodeToString(b.Bytes()))
	}
	one := func(p llm.Part) *llm.Request {
		return &llm.Request{Messages: []llm.Message{{Role: llm.RoleUser, Parts: []llm.Part{p}}}}
	}
	const frame = answerTokens + messageTokens
	for _, c := range []struct {
		why  string
		r    *llm.Request
		want int64
	}{
		{"nothing", &llm.Request{}, answerTokens},
		{"a text", one(llm.Part{Text: "hello there"}), frame + Count("hello there")},
		{"low detail", one(llm.Part{Kind: llm.PartImage, Media: &llm.Media{Detail: "low", Data: shot(4000, 4000)}}), frame + 85},
		// The examples of the vendor's guide.
		{"1024 x 1024", one(llm.Part{Kind: llm.PartImage, Media: &llm.Media{Detail: "high", Data: shot(1024, 1024)}}), frame + 765},
		{"2048 x 4096", one(llm.Part{Kind: llm.PartImage, Media: &llm.Media{Data: shot(2048, 4096)}}), frame + 1105},
		{"a small one is not enlarged", one(llm.Part{Kind: llm.PartImage, Media: &llm.Media{Data: shot(10, 500)}}), frame + 255},
		{"one by URL", one(llm.Part{Kind: llm.PartImage, Media: &llm.Media{URL: "https://a/b.png"}}), frame + 765},
		{"one that is none", one(llm.Part{Kind: llm.PartImage, Media: &llm.Media{Data: []byte("AAAA")}}), frame + 765},
		{"a text document", one(llm.Part{Kind: llm.PartDocument, Media: &llm.Media{Text: "hello"}}), frame + Count("hello")},
		{"a PDF", one(llm.Part{Kind: llm.PartDocument, Media: &llm.Media{Type: "application/pdf", Data: []byte(strings.Repeat("A", 4*pageBytes))}}), frame + 3*pageTokens},
		{"a second of speech", one(llm.Part{Kind: llm.PartAudio, Media: &llm.Media{Data: []byte(strings.Repeat("A", 21333))}}), frame + 10},
		{"thinking stays at home", &llm.Request{Messages: []llm.Message{{Role: llm.RoleAssistant, Parts: []llm.Part{{Kind: llm.PartThinking, Text: "hmm"}}}}}, frame},
		{"a call and its result", &llm.Request{Messages: []llm.Message{
			{Role: llm.RoleAssistant, Parts: []llm.Part{{Kind: llm.PartCall, Name: "f", Text: "{}"}}},
			{Role: llm.RoleTool, Parts: []llm.Part{{Kind: llm.PartResult, Content: []llm.Part{{Text: "x"}}}}},
		}}, frame + callTokens + Count("f") + Count("{}") + messageTokens + Count("x")},
		{
			"tools", &llm.Request{Tools: []llm.Tool{{Name: "f", Description: "d", Schema: llm.Raw(`{"type":"object"}`)}}},
			answerTokens + toolsTokens + toolTokens + Count("f") + Count("d") + Count(`{"type":"object"}`)*2/5,
		},
	} {
		if got := Request(c.r); got != c.want {
			t.Errorf("%s: %d, want %d", c.why, got, c.want)
		}
	}
}
