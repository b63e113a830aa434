// The small parts of the program that need no model: numbers as text, tables, strict option values, id lists, JSON, the
// text a terminal may see, progress lines, and the printer of answers.
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <limits>
#include <string>

#include "cli/answer_printer.h"
#include "cli/answer_report.h"
#include "cli/id_list.h"
#include "cli/input.h"
#include "cli/number_text.h"
#include "cli/option_values.h"
#include "cli/output.h"
#include "cli/table.h"
#include "cli/terminal.h"

namespace carat::cli {
namespace {

TEST(NumberText, Groups) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(1000), "1,000");
  EXPECT_EQ(grouped(-262144), "-262,144");
  EXPECT_EQ(grouped(std::numeric_limits<std::int64_t>::min()), "-9,223,372,036,854,775,808");
}

TEST(NumberText, BytesAndTimes) {
  EXPECT_EQ(bytes_text(0), "0 B");
  EXPECT_EQ(bytes_text(1023), "1023 B");
  EXPECT_EQ(bytes_text(1024), "1.0 KiB");
  EXPECT_EQ(bytes_text(1024 * 1024 - 1), "1.0 MiB");
  EXPECT_EQ(bytes_text(5368709120), "5.0 GiB");
  EXPECT_EQ(duration_text(0.424), "0.42 s");
  EXPECT_EQ(duration_text(59.94), "59.9 s");
  EXPECT_EQ(duration_text(59.96), "1 min 0 s");
  EXPECT_EQ(duration_text(4000), "1 h 6 min");
  EXPECT_EQ(duration_text(std::nan("")), "?");
  EXPECT_EQ(fixed(std::numeric_limits<double>::infinity(), 2), "inf");
  EXPECT_EQ(scientific(1e-4, 0), "1e-04");
}

TEST(Table, AlignsByCharactersNotBytes) {
  Table table({{"name", false}, {"count"}});
  table.add({"é", "1"});
  table.add({"longer", "10"});
  EXPECT_EQ(table.text(), "  name    count\n  é           1\n  longer     10\n");
}

TEST(OptionValues, NumbersAreDecimalFiniteAndInRange) {
  EXPECT_EQ(parse_integer("010", "--x", 0, 100), 10);
  EXPECT_EQ(parse_number("1e-3", "--x", 0, kAnyNumber), 0.001);
  EXPECT_EQ(parse_unsigned("18446744073709551615", "--x"), std::numeric_limits<std::uint64_t>::max());
  for (const char* text : {"", " 1", "1 ", "+1", "1.5", "0x1", "one", "101", "-1", "99999999999999999999"}) {
    EXPECT_THROW(parse_integer(text, "--x", 0, 100), CLI::ValidationError) << text;
  }
  for (const char* text : {"", "nan", "inf", "-inf", "1e999", "1.5x", "2"}) {
    EXPECT_THROW(parse_number(text, "--x", 0, 1), CLI::ValidationError) << text;
  }
  EXPECT_EQ(parse_ids("2, 9\n7", "--tokens"), (std::vector<std::int32_t>{2, 9, 7}));
}

TEST(IdList, ReadsWhatTheProgramPrints) {
  const std::vector<TokenId> ids = {2, 9259, 1902};
  EXPECT_EQ(join_ids(ids, ' '), "2 9259 1902");
  for (const std::string text : {"2 9259 1902\n", "2,9259,1902", "[2, 9259, 1902]", "{\"ids\":[2,9259,1902]}\n"}) {
    auto read = read_ids(text, "text");
    ASSERT_TRUE(read) << text << ": " << read.error().message;
    EXPECT_EQ(*read, ids) << text;
  }
  EXPECT_EQ(read_ids(" \n", "text").value(), std::vector<TokenId>{});
  for (const std::string text :
       {"2 x", "-1", "2147483648", "2.5", "[2,-1]", "[2.5]", "[\"2\"]", "{\"id\":[2]}", "{\"ids\":2}", "[2", "9259z"}) {
    EXPECT_FALSE(read_ids(text, "text")) << text;
  }
}

TEST(Input, JsonHasLimitsAndPlainErrors) {
  EXPECT_TRUE(parse_json("[" + std::string("[[]]") + ",\"[[[[\"]", "x"));
  EXPECT_FALSE(parse_json(std::string(100000, '['), "x"));
  auto broken = parse_json("[1,", "file.json");
  ASSERT_FALSE(broken);
  EXPECT_TRUE(broken.error().message.starts_with("file.json: not valid JSON: parse error at"))
      << broken.error().message;
  // What is printed always parses, whatever bytes it holds.
  EXPECT_EQ(dump_json({{"text",
                        "a\xff"
                        "b"}}),
            "{\"text\":\"a\xef\xbf\xbd"
            "b\"}");
}

TEST(Input, Utf8) {
  for (const std::string good : {"", "a", "é", "€", "😀", "\xed\x9f\xbf", "\xf4\x8f\xbf\xbf"})
    EXPECT_TRUE(check_utf8(good, "x"));
  for (const std::string bad : {"\x80", "\xc0\x80", "\xc3", "\xe0\x80\x80", "\xed\xa0\x80", "\xf0\x80\x80\x80",
                                "\xf4\x90\x80\x80", "\xff", "\xe2\x82"}) {
    EXPECT_FALSE(check_utf8("ok" + bad, "x"));
  }
  EXPECT_NE(check_utf8("ok\xff", "the prompt").error().message.find("offset 2"), std::string::npos);
}

TEST(Output, MessagesStayOnOneLine) {
  EXPECT_EQ(one_line("a\nb\x1b[2J\xc2\x9b"
                     "é"),
            "a\\nb\\x1b[2J\\x9bé");
}

TEST(Terminal, GeneratedTextCannotControlIt) {
  EXPECT_EQ(displayable("a\tb\nc"), "a\tb\nc");
  EXPECT_EQ(displayable("\x1b]0;title\x07"), "^[]0;title^G");
  EXPECT_EQ(displayable("a\r\nb\x7f"), "a\nb^?");
  EXPECT_EQ(displayable("\xc2\x9b"
                        "2J é"),
            "\xef\xbf\xbd"
            "2J é");
}

TEST(ProgressBar, ShowsShareRateAndTimeLeft) {
  Terminal terminal;
  const ProgressBar bar("Reading", "tokens", terminal);
  EXPECT_EQ(bar.line({512, 1024, 2.0, ""}, 0, 100),
            "Reading [###############---------------] 50 %  512/1,024 tokens  256/s  2 s left");
  EXPECT_EQ(bar.line({512, 1024, 2.0, ""}, 1.5, 100),
            "Reading [###############---------------] 50 %  512/1,024 tokens  256/s  1 s left");
  EXPECT_EQ(bar.line({0, 1024, 0, ""}, 5, 60), "Reading [-----------------------------] 0 %  0/1,024 tokens");
  EXPECT_EQ(bar.line({0, 0, 0, ""}, 0, 80), "Reading ");
  EXPECT_EQ(bar.line({7, 0, 1.0, "x"}, 0, 80), "Reading 7 tokens  7.0/s  x");
  terminal.utf8 = true;
  const ProgressBar loading("Loading", "", terminal);
  EXPECT_EQ(loading.line({1, 4, 30.0, ""}, 0, 43), "Loading [██░░░░░░░░] 25 %  1 min 30 s left");
  for (int width = 1; width < 120; ++width) {
    EXPECT_LT(display_width(loading.line({1, 4, 30.0, "détail"}, 0, width)),
              static_cast<std::size_t>(std::max(width, 2)));
  }
}

// What the printer writes for events on a terminal or in a pipe.
std::string printed(const Terminal& terminal, bool exact, const std::vector<GenerationEvent>& events) {
  Output output;
  testing::internal::CaptureStdout();
  AnswerPrinter printer(output, terminal, exact);
  for (const GenerationEvent& event : events) printer.print(event);
  printer.finish();
  return testing::internal::GetCapturedStdout();
}

GenerationEvent event(GenerationEvent::Kind kind, std::string text) {
  GenerationEvent out;
  out.kind = kind;
  out.text = std::move(text);
  return out;
}

GenerationEvent call_event(std::string name, std::string arguments) {
  GenerationEvent out;
  out.kind = GenerationEvent::Kind::tool_call;
  out.tool_call = {std::move(name), std::move(arguments)};
  return out;
}

using Kind = GenerationEvent::Kind;
const std::vector<GenerationEvent> kThoughtThenAnswer = {event(Kind::thought, "Let me "), event(Kind::thought, "see."),
                                                         event(Kind::content, "It is\x1b[1m "),
                                                         event(Kind::content, "4")};

TEST(AnswerPrinter, PipeReceivesTheContentAlone) {
  EXPECT_EQ(printed({}, false, kThoughtThenAnswer), "It is\x1b[1m 4\n");
  EXPECT_EQ(printed({}, true, kThoughtThenAnswer), "It is\x1b[1m 4");
  EXPECT_EQ(printed({}, false, {event(Kind::content, "done\n")}), "done\n");
  EXPECT_EQ(printed({}, false, {}), "");
}

TEST(AnswerPrinter, TerminalDimsTheThought) {
  Terminal terminal;
  terminal.present = terminal.interactive = terminal.color = true;
  EXPECT_EQ(printed(terminal, false, kThoughtThenAnswer), "\x1b[2mLet me see.\x1b[0m\n\nIt is^[[1m 4\n");
  EXPECT_EQ(printed(terminal, false, {event(Kind::thought, "Hm\n")}), "\x1b[2mHm\n\x1b[0m");
}

TEST(AnswerPrinter, WithoutColourTheThoughtIsNamed) {
  Terminal terminal;
  terminal.present = true;
  EXPECT_EQ(printed(terminal, false, kThoughtThenAnswer), "[thinking]\nLet me see.\n\n[answer]\nIt is^[[1m 4\n");
}

TEST(AnswerPrinter, CallsAreJsonLinesInAPipe) {
  const std::vector<GenerationEvent> events = {event(Kind::content, "I look."),
                                               call_event("get", "{\"city\":\"Bern\"}"), call_event("get", "{}")};
  EXPECT_EQ(printed({}, false, events),
            "I look.\n"
            R"({"id":"call_1","type":"function","function":{"name":"get","arguments":"{\"city\":\"Bern\"}"}})"
            "\n"
            R"({"id":"call_2","type":"function","function":{"name":"get","arguments":"{}"}})"
            "\n");
  Terminal terminal;
  terminal.present = true;
  terminal.utf8 = true;
  EXPECT_EQ(printed(terminal, false, events), "I look.\n→ get {\"city\":\"Bern\"}\n→ get {}\n");
}

TEST(AnswerReport, RatesCountWhatWasComputed) {
  Generation answer;
  answer.prompt_tokens = 100;
  answer.reused_tokens = 60;
  answer.completion_tokens = 11;
  answer.prompt_seconds = 2;
  answer.decode_seconds = 5;
  answer.finish_reason = "length";
  answer.seed = 7;
  EXPECT_EQ(prompt_rate(answer), 20);
  EXPECT_EQ(decode_rate(answer), 2);
  GenerateOptions options;
  options.max_tokens = 11;
  const auto lines = answer_statistics(answer, options, 0.5, 1000);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0],
            "loaded in 0.50 s; prompt 100 tokens (60 reused) in 2.00 s (20.0/s); answer 11 tokens in 5.00 s (2.0/s)");
  EXPECT_TRUE(lines[1].starts_with("ended: -n 11 reached; memory ")) << lines[1];
  EXPECT_TRUE(lines[1].ends_with("; seed 7")) << lines[1];
  EXPECT_GT(peak_memory_bytes(), 1 << 20);
  // One token, no time: no division by zero anywhere.
  EXPECT_EQ(decode_rate(Generation{}), 0);
  EXPECT_EQ(prompt_rate(Generation{}), 0);
}

}  // namespace
}  // namespace carat::cli
