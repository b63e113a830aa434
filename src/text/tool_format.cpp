#include "text/tool_format.h"

#include <algorithm>
#include <array>

namespace carat::text {
namespace {

using formats::Json;

constexpr std::string_view kQuote = "<|\"|>";

void write_quoted(PromptWriter& out, std::string_view text) { out.markup(kQuote).user(text).markup(kQuote); }

// value['type'] | upper: text in capitals, a missing type as nothing, a list as Python prints it.
std::string type_of(const Json& schema) {
  const Json& type = get(schema, "type");
  return type.is_null() && !(schema.is_object() && schema.contains("type")) ? std::string() : upper(python_text(type));
}

void write_quoted_list(PromptWriter& out, const Json& list) {
  bool first = true;
  for (const Json& entry : list) {
    if (!first) out.markup(",");
    first = false;
    write_quoted(out, python_text(entry));
  }
}

void write_parameters(PromptWriter& out, const Json& properties, bool filter_keys);

void write_items(PromptWriter& out, const Json& items) {
  bool first = true;
  for (const auto& [key, value] : dictsort(items)) {
    if (value->is_null()) continue;
    if (!first) out.markup(",");
    first = false;
    if (key == "properties") {
      out.markup("properties:{");
      if (value->is_object()) write_parameters(out, *value, false);
      out.markup("}");
    } else if (key == "required") {
      out.markup("required:[");
      if (value->is_array()) write_quoted_list(out, *value);
      out.markup("]");
    } else if (key == "type") {
      out.markup("type:");
      if (value->is_string()) {
        write_quoted(out, upper(value->get_ref<const std::string&>()));
      } else {
        Json list = Json::array();
        for (const Json& entry : *value) list.push_back(upper(python_text(entry)));
        write_value(out, list, true);
      }
    } else {
      out.user(key).markup(":");
      write_value(out, *value, true);
    }
  }
}

// One property: key:{description:…,enum|items…,nullable:true,properties:{…},required:[…],type:…}.
void write_property(PromptWriter& out, std::string_view key, const Json& schema) {
  out.user(key).markup(":{");
  bool comma = false;
  const auto separate = [&] {
    if (comma) out.markup(",");
    comma = true;
  };
  if (truthy(get(schema, "description"))) {
    out.markup("description:");
    write_quoted(out, python_text(get(schema, "description")));
    comma = true;
  }
  const std::string type = type_of(schema);
  if (type == "STRING") {
    if (truthy(get(schema, "enum"))) {
      separate();
      out.markup("enum:");
      write_value(out, get(schema, "enum"), true);
    }
  } else if (type == "ARRAY") {
    const Json& items = get(schema, "items");
    if (items.is_object() && !items.empty()) {
      separate();
      out.markup("items:{");
      write_items(out, items);
      out.markup("}");
    }
  }
  if (truthy(get(schema, "nullable"))) {
    separate();
    out.markup("nullable:true");
  }
  if (type == "OBJECT") {
    separate();
    out.markup("properties:{");
    const Json& properties = get(schema, "properties");
    // Without properties the schema's own further keywords stand in for them.
    if (properties.is_object())
      write_parameters(out, properties, false);
    else
      write_parameters(out, schema, true);
    out.markup("}");
    if (truthy(get(schema, "required"))) {
      separate();
      out.markup("required:[");
      write_quoted_list(out, get(schema, "required"));
      out.markup("]");
    }
  }
  separate();
  out.markup("type:");
  write_quoted(out, type);
  out.markup("}");
}

void write_parameters(PromptWriter& out, const Json& properties, bool filter_keys) {
  constexpr std::array<std::string_view, 5> standard = {"description", "type", "properties", "required", "nullable"};
  bool first = true;
  for (const auto& [key, schema] : dictsort(properties)) {
    if (filter_keys && std::find(standard.begin(), standard.end(), key) != standard.end()) continue;
    if (!first) out.markup(",");
    first = false;
    write_property(out, key, *schema);
  }
}

}  // namespace

void write_value(PromptWriter& out, const Json& value, bool quote_keys) {
  if (value.is_null()) {
    out.markup("null");
  } else if (value.is_string()) {
    write_quoted(out, value.get_ref<const std::string&>());
  } else if (value.is_boolean()) {
    out.markup(value.get<bool>() ? "true" : "false");
  } else if (value.is_object()) {
    out.markup("{");
    bool first = true;
    for (const auto& [key, entry] : dictsort(value)) {
      if (!first) out.markup(",");
      first = false;
      if (quote_keys)
        write_quoted(out, key);
      else
        out.user(key);
      out.markup(":");
      write_value(out, *entry, quote_keys);
    }
    out.markup("}");
  } else if (value.is_array()) {
    out.markup("[");
    bool first = true;
    for (const Json& entry : value) {
      if (!first) out.markup(",");
      first = false;
      write_value(out, entry, quote_keys);
    }
    out.markup("]");
  } else {
    out.user(python_text(value));
  }
}

void write_pairs(PromptWriter& out, const Json& object) {
  bool first = true;
  for (const auto& [key, value] : dictsort(object)) {
    if (!first) out.markup(",");
    first = false;
    out.user(key).markup(":");
    write_value(out, *value, false);
  }
}

void write_declaration(PromptWriter& out, const Json& function) {
  const auto text = [](const Json& value) { return value.is_null() ? std::string() : python_text(value); };
  out.markup("declaration:").user(text(get(function, "name"))).markup("{description:");
  write_quoted(out, text(get(function, "description")));
  const Json& parameters = get(function, "parameters");
  if (truthy(parameters)) {
    out.markup(",parameters:{");
    if (truthy(get(parameters, "properties"))) {
      out.markup("properties:{");
      write_parameters(out, get(parameters, "properties"), false);
      out.markup("},");
    }
    if (truthy(get(parameters, "required"))) {
      out.markup("required:[");
      write_quoted_list(out, get(parameters, "required"));
      out.markup("],");
    }
    // As in the template, the closing brace comes with the type.
    if (truthy(get(parameters, "type"))) {
      out.markup("type:");
      write_quoted(out, type_of(parameters));
      out.markup("}");
    }
  }
  if (function.is_object() && function.contains("response")) {
    const Json& response = get(function, "response");
    out.markup(",response:{");
    if (truthy(get(response, "description"))) {
      out.markup("description:");
      write_quoted(out, python_text(get(response, "description")));
      out.markup(",");
    }
    if (type_of(response) == "OBJECT") {
      out.markup("type:");
      write_quoted(out, type_of(response));
      out.markup("}");
    }
  }
  out.markup("}");
}

void write_tool_response(PromptWriter& out, std::string_view name, const Json& response) {
  out.markup("<|tool_response>response:").user(name).markup("{");
  if (response.is_object()) {
    write_pairs(out, response);
  } else {
    out.markup("value:");
    write_value(out, response, false);
  }
  out.markup("}<tool_response|>");
}

}  // namespace carat::text
