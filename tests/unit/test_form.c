/* api/form and api/content_type: the form that clients write, or none. */
#include "test.h"

#include "api/content_type.h"
#include "api/form.h"

#include <stdlib.h>

#define TYPE "multipart/form-data; boundary=b"

#define PART(name)  "--b\r\nContent-Disposition: form-data; name=\"" name "\""
#define MODEL       PART("model") "\r\n\r\nm\r\n"
#define END         "--b--\r\n"
#define FILE_PART   PART("file") "; filename=\"a.wav\"\r\n"
#define HEAD(lines) "--b\r\n" lines "\r\n\r\nm\r\n"
#define DISP        "Content-Disposition: form-data; name=\"model\""

/* The body is copied to memory of exactly its size. */
static enum form_status read(const char *type, struct str body,
                             struct form *out)
{
	char *exact = malloc(body.len ? body.len : 1);
	enum form_status s;

	assert_non_null(exact);
	memcpy(exact, body.p, body.len);
	s = form_read(str_c(type), str_of(exact, body.len), out);
	assert_true((s == FORM_BAD) == (out->error != NULL));
	if (out->model.len > 0) /* it outlives the copy */
		out->model =
			str_of(body.p + (out->model.p - exact), out->model.len);
	free(exact);
	return s;
}

#define BODY(lit) STR_INIT(lit)

static void check(const char *name, enum form_status got, enum form_status want,
                  const struct form *f, const char *model)
{
	if (got != want || !str_eq(f->model, str_c(model)))
		fail_msg("%s: status %d, model \"%" STR_FMT "\", %s", name,
		         (int)got, STR_ARG(f->model),
		         f->error ? f->error : "no error");
}

/* --------------------------------------------------------- honest clients */

/* As these clients have written them, but for the boundary and the file. */
static void test_forms_of_clients(void **state)
{
	static const struct {
		const char *name, *type;
		struct str body;
	} cases[] = {
		{"httpx", TYPE,
	         BODY(MODEL FILE_PART
	              "Content-Type: audio/wav\r\n\r\nRIFF\r\n" END)},
		{"requests", TYPE, BODY(MODEL FILE_PART "\r\nRIFF\r\n" END)},
		{"curl",
	         "multipart/form-data; boundary=------------------------b",
	         BODY("--------------------------b\r\n" DISP "\r\n\r\nm\r\n"
	              "--------------------------b\r\nContent-Disposition: "
	              "form-data; name=\"file\"; filename=\"a.wav\"\r\n"
	              "Content-Type: application/octet-stream\r\n\r\nRIFF\r\n"
	              "--------------------------b--\r\n")},
		{"node", "multipart/form-data; boundary=----formdata-undici-01",
	         BODY("------formdata-undici-01\r\n" DISP "\r\n\r\nm\r\n"
	              "------formdata-undici-01\r\nContent-Disposition: "
	              "form-data; name=\"file\"; filename=\"a b,c.webm\"\r\n"
	              "Content-Type: audio/webm;codecs=opus\r\n\r\nRIFF\r\n"
	              "------formdata-undici-01--\r\n")},
		{"Go", TYPE,
	         BODY(MODEL FILE_PART "Content-Type: application/octet-stream"
	                              "\r\n\r\nRIFF\r\n--b--\r\n")},
		{"HttpClient of .NET",
	         "multipart/form-data; boundary=\"b-=_1\"",
	         BODY("--b-=_1\r\nContent-Type: text/plain; charset=utf-8\r\n"
	              "Content-Disposition: form-data; name=model\r\n\r\nm\r\n"
	              "--b-=_1\r\nContent-Disposition: form-data; name=file; "
	              "filename=a.wav; filename*=utf-8''a.wav\r\n\r\nRIFF\r\n"
	              "--b-=_1--\r\n")},
		{".NET, name of a file in another script", TYPE,
	         BODY(MODEL PART(
			 "file") "; filename=\"=?utf-8?B?w6Q=?=\"; "
	                         "filename*=utf-8''%C3%A4\r\n\r\n1\r\n" END)},
		{"HttpClient of Apache",
	         "multipart/form-data; charset=UTF-8; boundary=b",
	         BODY(HEAD(DISP "\r\nContent-Type: text/plain; "
	                        "charset=ISO-8859-1\r\n"
	                        "Content-Transfer-Encoding: 8bit") FILE_PART
	              "Content-Type: application/octet-stream\r\n"
	              "Content-Transfer-Encoding: binary\r\n\r\nRIFF\r\n" END)},
		{"OkHttp", TYPE, BODY(HEAD(DISP "\r\nContent-Length: 1") END)},
		{"a name of a file in UTF-8", TYPE,
	         BODY(MODEL PART(
			 "file") "; filename=\"\xc3\xa4\"\r\n\r\n1\r\n" END)},
		{"fields with brackets", TYPE,
	         BODY(MODEL PART(
			 "timestamp_granularities[]") "\r\n\r\nword\r\n" END)},
		{"no line end behind", TYPE, BODY(MODEL "--b--")},
		{"in other letter case", "Multipart/Form-Data;Boundary=b",
	         BODY("--b\r\ncontent-disposition: Form-Data; Name=\"model\""
	              "\r\n\r\nm\r\n" END)},
		{"new lines in a file", TYPE,
	         BODY(FILE_PART
	              "X: y\r\n\r\n--c\r\n\r\n--\n--a\r--\r\n" MODEL END)},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct form f;

		check(cases[i].name, read(cases[i].type, cases[i].body, &f),
		      FORM_OK, &f, "m");
	}
}

/* ---------------------------------------------------------------- attacks */

static void test_forms_that_others_read_in_another_way(void **state)
{
	static const struct {
		const char *name;
		struct str body;
	} cases[] = {
		{"the boundary behind LF", BODY(FILE_PART "\r\n1\n" MODEL END)},
		{"behind LF, model before",
	         BODY(MODEL FILE_PART "\r\n1\n--b\nContent-Disposition: "
	                              "form-data; name=\"model\"\n\ndear\n"
	                              "\r\n" END)},
		{"behind CR", BODY(FILE_PART "\r\n1\r" MODEL END)},
		{"behind nothing", BODY(FILE_PART "\r\n1" MODEL END)},
		{"behind NUL", BODY(FILE_PART "\r\n\0" MODEL END)},
		{"in a header", BODY(HEAD(DISP "\r\nX: --b") END)},
		{"longer", BODY(MODEL FILE_PART "\r\n1\r\n--bb\r\n1\r\n" END)},
		{"with blanks", BODY("--b \r\n" DISP "\r\n\r\nm\r\n" END)},
		{"ended by LF", BODY("--b\n" DISP "\r\n\r\nm\r\n" END)},
		{"LF everywhere", BODY("--b\n" DISP "\n\nm\n--b--\n")},
		{"preamble", BODY("preamble\r\n" MODEL END)},
		{"an empty line in front", BODY("\r\n" MODEL END)},
		{"epilogue", BODY(MODEL END "\r\n")},
		{"parts behind the end", BODY(MODEL END MODEL END)},
		{"the end goes on", BODY(MODEL "--b--x")},

		{"model twice", BODY(MODEL MODEL END)},
		{"MODEL", BODY(PART("MODEL") "\r\n\r\nm\r\n" END)},
		{"model[]", BODY(MODEL PART("model[]") "\r\n\r\nm\r\n" END)},
		{"model[0]", BODY(MODEL PART("model[0]") "\r\n\r\nm\r\n" END)},
		{"a blank before it", BODY(PART(" model") "\r\n\r\nm\r\n" END)},
		{"a blank behind it", BODY(PART("model ") "\r\n\r\nm\r\n" END)},
		{"a Kelvin-like name", BODY(PART("_char\xc5\xbf"
	                                         "et_") "\r\n\r\nm\r\n" END)},
		{"_charset_",
	         BODY(MODEL PART("_charset_") "\r\n\r\nutf-7\r\n" END)},
		{"an encoded word",
	         BODY(MODEL PART("=?utf-8?B?bW9kZWw=?=") "\r\n\r\nm\r\n" END)},
		{"a name that is not UTF-8",
	         BODY(MODEL PART("mod\xff"
	                         "el") "\r\n\r\nm\r\n" END)},
		{"model as a file",
	         BODY(PART("model") "; filename=\"m\"\r\n\r\nm\r\n" END)},
		{"model as a file, .NET",
	         BODY(PART("model") "; filename=m; filename*=utf-8''m\r\n\r\n"
	                            "m\r\n" END)},
		{"model in another charset",
	         BODY(HEAD(DISP "\r\nContent-Type: text/plain; "
	                        "charset=utf-16") END)},
		{"model in two charsets",
	         BODY(HEAD(DISP "\r\nContent-Type: text/plain; charset=utf-8; "
	                        "charset=utf-16") END)},
		{"model as JSON",
	         BODY(HEAD(DISP "\r\nContent-Type: application/json") END)},
		{"model is empty", BODY(PART("model") "\r\n\r\n\r\n" END)},
		{"model is not ASCII",
	         BODY(PART("model") "\r\n\r\n\xc3\xa4\r\n" END)},
		{"model with a NUL",
	         BODY(PART("model") "\r\n\r\nm\0n\r\n" END)},
		{"model with a line",
	         BODY(PART("model") "\r\n\r\nm\nn\r\n" END)},

		{"filename* alone",
	         BODY(PART("x") "; filename*=utf-8''m\r\n\r\nm\r\n" END)},
		{"filename* in another charset",
	         BODY(PART("x") "; filename=a; "
	                        "filename*=utf-7''m\r\n\r\nm\r\n" END)},
		{"filename* with a parameter",
	         BODY(PART("x") "; filename=a; filename*=utf-8''m; name=model"
	                        "\r\n\r\nm\r\n" END)},
		{"filename twice",
	         BODY(PART("x") "; filename=\"a\"; "
	                        "filename=\"b\"\r\n\r\nm\r\n" END)},
		{"name*",
	         BODY(PART("x") "; name*=utf-8''model\r\n\r\nm\r\n" END)},
		{"name*0",
	         BODY(HEAD("Content-Disposition: form-data; name*0=mo; "
	                   "name*1=del") END)},
		{"name twice",
	         BODY(PART("x") "; name=\"model\"\r\n\r\nm\r\n" END)},
		{"another parameter",
	         BODY(PART("model") "; x=\"y\"\r\n\r\nm\r\n" END)},
		{"a file name first",
	         BODY(HEAD("Content-Disposition: form-data; filename=\"a\"; "
	                   "name=\"model\"") END)},
		{"an escape in a name",
	         BODY(PART("mod\\el") "\r\n\r\nm\r\n" END)},
		{"a quote in a name",
	         BODY(PART("mo\"del") "\r\n\r\nm\r\n" END)},
		{"blanks around =",
	         BODY(HEAD("Content-Disposition: form-data; name = \"model\"")
	                      END)},
		{"no blank behind ;",
	         BODY(HEAD("Content-Disposition: form-data;name=\"model\"")
	                      END)},
		{"a semicolon at the end", BODY(HEAD(DISP ";") END)},
		{"attachment",
	         BODY(HEAD("Content-Disposition: attachment; name=\"model\"")
	                      END)},
		{"folded",
	         BODY(HEAD("Content-Disposition: form-data;\r\n name=\"model\"")
	                      END)},
		{"an empty line in the headers",
	         BODY("--b\r\n\r\n" DISP "\r\n\r\nm"
	              "\r\n" END)},
		{"a blank in front of the colon",
	         BODY(HEAD("Content-Disposition: form-data; name=\"x\"\r\n"
	                   "Content-Disposition : form-data; name=\"model\"")
	                      END)},
		{"a header without a colon", BODY(HEAD(DISP "\r\nX") END)},
		{"a header without a name", BODY(HEAD(DISP "\r\n: X") END)},
		{"a CR in a header", BODY(HEAD(DISP "\r\nX: a\rb") END)},
		{"a LF in a header",
	         BODY(HEAD("X: a\nContent-Disposition: form-data; "
	                   "name=\"x\"\r\n" DISP) END)},
		{"a NUL in a header", BODY(HEAD(DISP "\r\nX: a\0b") END)},
		{"Content-Disposition twice", BODY(HEAD(DISP "\r\n" DISP) END)},
		{"Content-Type twice",
	         BODY(HEAD(DISP "\r\nContent-Type: text/plain\r\n"
	                        "Content-Type: text/plain") END)},
		{"no name", BODY(HEAD("X: y") END)},
		{"no headers", BODY("--b\r\n\r\nm\r\n" END)},
		{"no empty line behind the headers",
	         BODY("--b\r\n" DISP "\r\n" END)},
		{"base64",
	         BODY(HEAD(DISP "\r\nContent-Transfer-Encoding: base64") END)},
		{"quoted-printable, of another part",
	         BODY(MODEL HEAD("Content-Disposition: form-data; name=\"x\""
	                         "\r\nContent-Transfer-Encoding: "
	                         "quoted-printable") END)},
		{"multipart inside",
	         BODY(MODEL FILE_PART
	              "Content-Type: multipart/mixed; "
	              "boundary=c\r\n\r\n--c\r\n\r\n--c--\r\n" END)},
		{"mail inside",
	         BODY(MODEL FILE_PART "Content-Type: message/rfc822\r\n\r\n"
	                              "A: b\r\n" END)},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct form f;

		check(cases[i].name, read(TYPE, cases[i].body, &f), FORM_BAD,
		      &f, "");
	}
}

static void test_types_that_others_read_in_another_way(void **state)
{
	static const char *const types[] = {
		"multipart/form-data",
		"multipart/form-data; boundary=",
		"multipart/form-data; boundary=\"\"",
		"multipart/form-data; boundary=b; boundary=b",
		"multipart/form-data; boundary=b; boundary=c",
		"multipart/form-data; boundary=b; Boundary=c",
		"multipart/form-data; boundary=b; boundary*0=c",
		"multipart/form-data; boundary*0=b",
		"multipart/form-data; boundary*=utf-8''c; boundary=b",
		"multipart/form-data; boundary=b; boundary*=utf-8''c",
		"multipart/form-data; boundary =b",
		"multipart/form-data; boundary= b",
		"multipart/form-data; boundary=b c",
		"multipart/form-data; boundary=\"b c\"",
		"multipart/form-data; boundary=\"b\\c\"",
		"multipart/form-data; boundary=\"b",
		"multipart/form-data; boundary=\"b\"c",
		"multipart/form-data; boundary=b, text/plain; boundary=c",
		"multipart/form-data; boundary=\"b,c\"",
		"multipart/form-data; boundary=b;; boundary=c",
		"multipart/form-data; x=\"; boundary=c\"; boundary=b",
		"multipart/form-data; x=y; boundary=b",
		"multipart/form-data; start=c; boundary=b",
		"multipart/form-data; charset=utf-7; boundary=b",
		"multipart/form-data; charset=utf-8; charset=x; boundary=b",
		"multipart/form-data boundary=b",
		"multipart/form-data, boundary=b",
		"multipart/form-data; boundary=b/c",
		"multipart/form-data; boundary=b%",
		"multipart/form-data; boundary=b\xc3\xa4",
		"multipart/form-data; boundary=0123456789012345678901234567890"
		"1234567890123456789012345678901234567890",
	};
	struct form f;

	(void)state;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		check(types[i], form_read(str_c(types[i]), STR(MODEL END), &f),
		      FORM_BAD, &f, "");
	assert_true(form_is(STR("multipart/form-data")));
	assert_true(form_is(STR("Multipart/Form-Data ; x")));
	assert_false(form_is(STR("multipart/form-datax; boundary=b")));
	assert_false(form_is(STR("application/json")));
}

/* Every beginning of a form is a part of it, never another form. */
static void test_beginnings_of_a_form(void **state)
{
	static const char body[] = FILE_PART "\r\n1\r\n" MODEL "--b--";
	struct form f;

	(void)state;
	for (size_t n = 0; n < sizeof(body) - 1; n++) {
		bool seen = n >= sizeof(body) - 1 - 2;

		check("beginning", read(TYPE, str_of(body, n), &f),
		      FORM_PARTIAL, &f, seen ? "m" : "");
	}
}

static void test_a_form_without_a_model(void **state)
{
	struct form f;

	(void)state;
	check("none", read(TYPE, STR(FILE_PART "\r\n1\r\n" END), &f), FORM_OK,
	      &f, "");
	check("no part", read(TYPE, STR("--b--"), &f), FORM_OK, &f, "");
}

static void test_too_much(void **state)
{
	static char body[40000];
	size_t n = 0;
	struct form f;

	(void)state;
	for (unsigned i = 0; i <= FORM_PARTS_MAX; i++)
		n += strlen(memcpy(body + n, PART("x") "\r\n\r\n1\r\n",
		                   sizeof(PART("x") "\r\n\r\n1\r\n")));
	memcpy(body + n, END, sizeof(END));
	check("parts", read(TYPE, str_c(body), &f), FORM_BAD, &f, "");
	memset(body, 'm', sizeof(body));
	memcpy(body, PART("model") "\r\n\r\n",
	       sizeof(PART("model") "\r\n\r\n") - 1);
	n = sizeof(PART("model") "\r\n\r\n") - 1 + FORM_MODEL_MAX;
	memcpy(body + n, "\r\n" END, sizeof("\r\n" END));
	assert_int_equal(read(TYPE, str_c(body), &f), FORM_OK);
	memcpy(body + n, "m\r\n" END, sizeof("m\r\n" END));
	check("name", read(TYPE, str_c(body), &f), FORM_BAD, &f, "");
}

/* ------------------------------------------------------------ content types */

static void test_content_types(void **state)
{
	static const struct {
		const char *value;
		bool good;
	} cases[] = {
		{"application/json", true},
		{" application/json ", true},
		{"APPLICATION/JSON", true},
		{"application/json;", true},
		{"application/json; ", true},
		{"application/json;charset=utf-8", true},
		{"application/json ; charset=UTF-8", true},
		{"application/json; Charset=\"Utf-8\"", true},
		{"application/problem+json", true},
		{"application/json; charset=utf-7", false},
		{"application/json; charset=utf-16", false},
		{"application/json; charset=utf8", false},
		{"application/json; charset=", false},
		{"application/json; charset", false},
		{"application/json; charset=\"utf-8", false},
		{"application/json; charset=utf-8; charset=utf-7", false},
		{"application/json; charset*=utf-8''utf-7", false},
		{"application/json; charset=utf-8, text/plain", false},
		{"application/json, application/json", false},
		{"application/json;;", false},
		{"application/json; x=y", false},
		{"application/json charset=utf-7", false},
		{"application", false},
		{"/json", false},
		{"", false},
	};
	struct content_type t;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		content_type_read(str_c(cases[i].value), &t);
		if ((t.error == NULL) != cases[i].good)
			fail_msg("\"%s\": %s", cases[i].value,
			         t.error ? t.error : "accepted");
	}
	content_type_read(STR("a/b; boundary=\"c:d\"; charset=utf-8"), &t);
	assert_true(str_eq(t.boundary, STR("c:d")));
	assert_true(str_eq(t.type, STR("a/b")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms_of_clients),
		cmocka_unit_test(test_forms_that_others_read_in_another_way),
		cmocka_unit_test(test_types_that_others_read_in_another_way),
		cmocka_unit_test(test_beginnings_of_a_form),
		cmocka_unit_test(test_a_form_without_a_model),
		cmocka_unit_test(test_too_much),
		cmocka_unit_test(test_content_types),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
