#include "connection/operation.hpp"

#include "connection/session.hpp"

namespace fasterapi::pg {

void Operation::reset() noexcept {
  executions_ = 0;
  closes_ = 0;
  parse_ = describe_ = bind_ = bind_only_ = script_ = in_rows_ = failed_ = copying_ = have_parameters_ = false;
  parsing_ = StatementRef();
  report_.fields.clear();
}

// Protocol documentation, "Extended Query" and "Message Flow": after an ErrorResponse the server skips to the
// Sync, so that only ReadyForQuery may follow. Notices and status reports were taken out by the session.
bool Operation::handle(Session& session, char type, std::string_view body) {
  if (failed_) return false;
  switch (type) {
    case 'D': return (in_rows_ || script_) && !copying_ && on_row(body);
    case '2':
      if (closes_ || parse_ || describe_ || in_rows_ || !body.empty()) return false;
      if (bind_only_) {
        bind_only_ = false;
        return true;
      }
      if (!bind_ || executions_ == 0) return false;
      in_rows_ = true;
      return true;
    case 'C': {
      std::string_view tag;
      if (!backend::command_complete(body, tag)) return false;
      copying_ = false;
      if (script_) {
        on_complete(tag, false);
        return true;
      }
      if (!in_rows_) return false;
      --executions_;
      in_rows_ = !bind_ && executions_ > 0;
      on_complete(tag, false);
      return true;
    }
    case 'I':
    case 's':
      if (!body.empty()) return false;
      if (script_) {
        if (type == 'I') on_complete({}, false);
        return type == 'I';
      }
      if (!in_rows_) return false;
      --executions_;
      in_rows_ = !bind_ && executions_ > 0;
      on_complete({}, type == 's');
      return true;
    case '3':
      if (closes_ == 0 || !body.empty()) return false;
      --closes_;
      return true;
    case '1':
      if (closes_ || !parse_ || !body.empty()) return false;
      parse_ = false;
      parsing_ = StatementRef();
      return true;
    case 't':
      if (closes_ || parse_ || !describe_ || have_parameters_) return false;
      have_parameters_ = true;
      return backend::parameter_description(body, parameters_);
    case 'T':
    case 'n': {
      std::vector<backend::Column> columns;
      if (type == 'T' ? !backend::row_description(body, columns) : !body.empty()) return false;
      if (script_) {
        if (type == 'n') return false;
        on_script_columns(std::move(columns));
        return true;
      }
      if (!describe_ || !have_parameters_) return false;
      describe_ = have_parameters_ = false;
      on_described(std::move(parameters_), std::move(columns), type == 'T');
      return true;
    }
    case 'E': failed_ = true; return backend::report(body, report_);
    case 'G':
      if ((!in_rows_ && !script_) || copying_) return false;
      on_copy_in();
      return session.refuse_copy_in(*this, script_);
    case 'H':
      if ((!in_rows_ && !script_) || copying_) return false;
      copying_ = true;
      on_copy_out();
      return true;
    case 'd': return copying_;
    case 'c': return copying_ && body.empty();
    default: return false;
  }
}

}  // namespace fasterapi::pg
