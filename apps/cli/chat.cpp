// carat chat: a conversation at the terminal. Every turn hands the whole rendered conversation to the session, which
// computes only what its cache does not hold yet.
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "carat/session.h"
#include "cli/answer_printer.h"
#include "cli/answer_report.h"
#include "cli/chat_log.h"
#include "cli/chat_message.h"
#include "cli/command.h"
#include "cli/conversation.h"
#include "cli/generation_options.h"
#include "cli/input.h"
#include "cli/interrupt.h"
#include "cli/line_editor.h"
#include "cli/media_options.h"
#include "cli/model_options.h"
#include "cli/number_text.h"
#include "cli/option_values.h"
#include "cli/terminal.h"

namespace carat::cli {
namespace {

constexpr const char* kExamples = R"(Examples:
  carat chat gemma-4-E2B-it
  carat chat gemma-4-E2B-it --system "Answer in French." --think
  carat chat gemma-4-E2B-it --messages saved.json   go on with a saved chat
  carat chat gemma-4-E2B-it < questions.txt         one answer per line, then end

In the chat, /help lists its commands. Ctrl-C stops an answer and keeps what was
said; Ctrl-D leaves.)";

constexpr const char* kChatHelp = R"(/system TEXT   set the system prompt (alone: show it; /system - removes it)
/think on|off  let the model think before it answers, or not (alone: switch)
/image FILE    show a picture with the next message; so do /audio and /video, and
               files dragged into the window (alone: what is waiting; - drops it)
/reset         forget the conversation, keep the system prompt
/save FILE     write the conversation as JSON, which --messages reads
/help          show this
/quit          leave (so does Ctrl-D)

A line that ends in \ goes on with the next one. """ begins a message of several
lines that ends with """. Ctrl-C stops an answer and keeps what was said.)";

struct ChatOptions {
  std::string model, system, messages;
  PromptOptions rendering;
  MediaArguments media;
  ModelOptions loading;
  SessionOptions session;
  GenerateOptions generation;
};

class Chat {
 public:
  Chat(ChatOptions options, const Checkpoint& checkpoint, Session session, ChatLog log, Output& output)
      : options_(std::move(options)),
        checkpoint_(checkpoint),
        session_(std::move(session)),
        log_(std::move(log)),
        output_(output) {}

  Result<ExitCode> converse();

 private:
  /// Answers one message. Errors: those of rendering and generating; the message is taken back then.
  Result<void> answer(std::string text);
  /// Carries out "/…"; false leaves the chat.
  bool obey(const std::string& line);
  /// Lets a file wait for the next message, once it is known to be readable for this model.
  bool attach(const std::string& kind, const std::string& path);
  /// What the program says itself: on a terminal only, apart from standard output when that is piped.
  void say(const std::string& text) const;

  ChatOptions options_;
  const Checkpoint& checkpoint_;
  Session session_;
  ChatLog log_;
  Output& output_;
  LineEditor editor_;
  Terminal terminal_ = Terminal::standard_output();
  std::string saved_as_;
  std::vector<Json> waiting_;  ///< media for the next message
};

/// Whether the checkpoint's prompt format can be written with these options. Errors: those of rendering.
Result<void> can_render(const Checkpoint& checkpoint, const PromptOptions& options) {
  if (auto prompt = checkpoint.render(R"([{"role":"user","content":"Hi"}])", "", options); !prompt) {
    return forward(prompt);
  }
  return {};
}

void Chat::say(const std::string& text) const {
  const bool dim = Terminal::standard_error().color;
  std::fprintf(stderr, "%s%s%s\n", dim ? "\x1b[2m" : "", displayable(text).c_str(), dim ? "\x1b[0m" : "");
}

Result<void> Chat::answer(std::string text) {
  log_.add_user(std::move(text), waiting_);
  const auto take_back = [&](auto& failed) {
    log_.drop_last();
    return forward(failed);
  };
  auto prompt = render(checkpoint_, log_.messages(), "", options_.rendering);
  if (!prompt) return take_back(prompt);

  const InterruptScope interrupt;
  GenerateOptions generation = options_.generation;
  generation.starts_in_thought = prompt->starts_in_thought;
  generation.cancel = interrupt.token();
  AnswerPrinter printer(output_, terminal_, /*exact=*/false);
  ProgressBar encoding("Encoding media", ""), bar("Reading", "tokens");
  auto answered = session_.generate(*prompt, generation, [&](const GenerationEvent& event) {
    if (event.kind == GenerationEvent::Kind::media) {
      encoding.update(event.done, event.total);
      return true;
    }
    if (event.kind == GenerationEvent::Kind::prompt) {
      encoding.finish();
      bar.update(event.done, event.total);
      return true;
    }
    bar.finish();
    printer.print(event);
    return !output_.failed();
  });
  encoding.finish();
  bar.finish();
  printer.finish();
  if (!answered) return take_back(answered);
  waiting_.clear();
  log_.add_assistant(answered->text);
  if (editor_.interactive()) {
    std::string summary = grouped(answered->completion_tokens) + " tokens";
    if (decode_rate(*answered) > 0) summary += ", " + rate_text(decode_rate(*answered)) + "/s";
    summary += "; context " + grouped(answered->prompt_tokens + answered->completion_tokens) + " of " +
               grouped(session_.context_length());
    if (answered->reused_tokens > 0) summary += ", " + grouped(answered->reused_tokens) + " reused";
    if (answered->finish_reason != "stop")
      summary += "; " + finish_text(*answered, generation, session_.context_length());
    say("(" + summary + ")");
  }
  return {};
}

bool Chat::attach(const std::string& kind, const std::string& path) {
  std::error_code code;
  const auto absolute = std::filesystem::absolute(path, code);  // a saved conversation is read from anywhere
  Json part = media_part(kind, code ? path : absolute.string());
  const Json trial = Json::array({{{"role", "user"}, {"content", Json::array({part})}}});
  auto prompt = render(checkpoint_, trial.dump(), "", options_.rendering);
  if (!prompt) {
    if (prompt.error().code != ErrorCode::cancelled) print_error(prompt.error().message);
    return false;
  }
  waiting_.push_back(std::move(part));
  for (const std::string& line : media_report(prompt->media))
    say(line.substr(line.find(": ") + 2) + " goes with the next message.");
  return true;
}

bool Chat::obey(const std::string& line) {
  constexpr const char* kBlank = " \t\n";
  const auto end = line.find_first_of(kBlank);
  const std::string command = line.substr(0, end);
  const auto begin = line.find_first_not_of(kBlank, end);
  std::string argument = begin == std::string::npos ? "" : line.substr(begin);
  while (!argument.empty() && (argument.back() == ' ' || argument.back() == '\t')) argument.pop_back();

  if (command == "/quit" || command == "/exit") return false;
  if (command == "/help") {
    say(kChatHelp);
  } else if (command == "/reset") {
    log_.clear();
    session_.reset();
    say("The conversation is forgotten.");
  } else if (command == "/think") {
    PromptOptions changed = options_.rendering;
    changed.think = argument.empty() ? !changed.think : argument == "on";
    if (!argument.empty() && argument != "on" && argument != "off") {
      print_error("/think: \"" + argument + "\" is neither on nor off");
    } else if (auto possible = can_render(checkpoint_, changed); !possible) {
      print_error(possible.error().message);
    } else {
      options_.rendering = changed;
      say(options_.rendering.think ? "The model thinks before it answers." : "The model answers at once.");
    }
  } else if (command == "/system") {
    if (argument.empty()) {
      say(log_.system().empty() ? "There is no system prompt." : "System prompt: " + log_.system());
    } else if (auto set = log_.set_system(argument == "-" ? "" : argument); !set) {
      print_error(set.error().message);
    } else {
      say(argument == "-" ? "The system prompt is removed." : "The system prompt is set.");
    }
  } else if (command == "/image" || command == "/audio" || command == "/video") {
    if (argument == "-") {
      waiting_.clear();
      say("Nothing is waiting for the next message.");
    } else if (!argument.empty()) {
      attach(command.substr(1), unquoted_path(argument));
    } else {
      for (const Json& part : waiting_) say(part["type"].get<std::string>() + ": " + part["path"].get<std::string>());
      if (waiting_.empty()) say("Nothing is waiting for the next message.");
    }
  } else if (command == "/save" || command == "/save!") {
    // Saving the same chat again is a habit; another file is not overwritten unless asked.
    const bool overwrite = command == "/save!" || argument == saved_as_;
    if (argument.empty()) {
      print_error("/save: give a file name");
    } else if (auto saved = log_.save(argument, overwrite); !saved) {
      print_error(saved.error().message);
    } else {
      saved_as_ = argument;
      say("Saved to " + argument + ".");
    }
  } else {
    print_error(command + ": no such command; /help lists them (put a space before it to send it as text)");
  }
  return true;
}

Result<ExitCode> Chat::converse() {
  if (editor_.interactive()) say("/help lists the commands, Ctrl-D leaves.");
  for (;;) {
    const ChatInput input = read_chat_input(editor_);
    if (input.status == LineEditor::Status::end) {
      if (editor_.interactive()) say("");
      return ExitCode::success;
    }
    if (input.status == LineEditor::Status::interrupted || input.text.find_first_not_of(" \t\r\n") == std::string::npos)
      continue;
    editor_.remember(input.text);
    if (const auto dropped = dropped_file(input.text); dropped && !input.quoted) {
      attach(dropped->kind, dropped->path);
      continue;
    }
    if (input.text.starts_with('/') && !input.quoted) {
      if (!obey(input.text)) return ExitCode::success;
      continue;
    }
    auto valid = check_utf8(input.text, "the message");
    auto answered = valid ? answer(input.text) : Result<void>(forward(valid));
    if (!answered) {
      if (answered.error().code == ErrorCode::cancelled) continue;
      // A script must not go on as if nothing had happened; a person can change something and ask again.
      if (!editor_.interactive()) return forward(answered);
      std::string hint = answered.error().code == ErrorCode::context_full ? "; /reset starts anew" : "";
      print_error(answered.error().message + hint);
    }
    if (output_.failed()) return ExitCode::bad_input;
  }
}

Result<ExitCode> chat(ChatOptions options, Output& output) {
  ChatLog log;
  if (!options.messages.empty()) {
    auto loaded = ChatLog::load(options.messages);
    if (!loaded) return forward(loaded);
    log = std::move(*loaded);
  }
  if (!options.system.empty()) {
    if (auto set = log.set_system(options.system); !set) return forward(set);
  }
  auto checkpoint = Checkpoint::open(options.model, options.media.projector);
  if (!checkpoint) return forward(checkpoint);
  options.rendering.media = options.media.options;
  // A model that cannot chat is refused now, not after loading it and typing the first message.
  if (auto possible = can_render(*checkpoint, options.rendering); !possible) return forward(possible);
  if (auto room = checkpoint->fits(options.session); !room) return forward(room);
  std::optional<Session> session;
  {
    const InterruptScope interrupt;
    auto model = load_model(*checkpoint, options.loading, interrupt);
    if (!model) return forward(model);
    auto created = Session::create(*model, options.session);
    if (!created) return forward(created);
    session.emplace(std::move(*created));
  }
  return Chat(std::move(options), *checkpoint, std::move(*session), std::move(log), output).converse();
}

}  // namespace

Command add_chat(CLI::App& program) {
  auto options = std::make_shared<ChatOptions>();
  CLI::App& app = *program.add_subcommand("chat", "Talk with a model at the terminal");
  app.footer(kExamples);
  add_model_path(app, options->model);
  constexpr const char* kPrompt = "Prompt";
  app.add_option("--system", options->system, "System prompt: how the model should behave")
      ->type_name("TEXT")
      ->group(kPrompt);
  app.add_option("--messages", options->messages, "Go on with this conversation, as /save writes it")
      ->type_name("FILE")
      ->group(kPrompt);
  auto* think =
      app.add_flag("--think", options->rendering.think, "Let the model think before it answers")->group(kPrompt);
  app.add_flag("--no-think")->description("Let it answer at once (default)")->excludes(think)->group(kPrompt);
  add_choice(
      app, "--template", options->rendering.prompt_template, {"small", "large", "gemma3"},
      "Prompt format, for a model whose own is missing or unknown: small (Gemma 4 E2B, E4B), large (Gemma 4 12B, "
      "26B, 31B), gemma3 (default: the model's own)")
      ->group(kPrompt);
  add_media_options(app, options->media);
  add_image_mask(app, options->loading);
  add_generation_options(app, options->generation);
  add_session_options(app, options->session);
  add_compute_options(app, options->loading);
  return {&app, [options](Output& output) { return chat(*options, output); }};
}

}  // namespace carat::cli
