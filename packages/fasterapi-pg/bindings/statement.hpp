#pragma once
// A statement as Python needs it: decoders per column, encoders per parameter, the shape of its records.
//   Cost     decode_row() is one loop over the row's bytes with one indirect call per value
//   Ownership  counted (StatementRef); the catalog's dict maps the SQL text to a handle that holds one reference
#include <vector>

#include "connection/statement.hpp"
#include "record.hpp"
#include "types/type.hpp"

namespace fasterapi::pg::py {

class Request;

class PyStatement final : public Statement {
 public:
  PyStatement(Catalog& catalog, PyObject* sql, std::string text);

  /// Types named by the description that the catalog does not know.
  std::vector<std::uint32_t> unknown_types() const;
  /// Builds the tables; all types must be known. False with an exception.
  bool finish();
  bool same_result(const std::vector<backend::Column>& described) const noexcept;

  struct Decoder {
    Decode decode;
    const Type* type;
  };
  Catalog& catalog;
  Ref sql_object;
  std::vector<Decoder> decoders;
  std::vector<const Type*> encoders;
  RecordShape* shape = nullptr;
  bool dirty = false;       // leaves something in the session
  bool describing = false;  // somebody asks the server already: wait for it
  std::vector<Request*> waiting;

 private:
  ~PyStatement() override;
};

/// The statement of a SQL text (a str), made when it is new; nullptr with an exception.
PyStatement* lookup_statement(Catalog& catalog, PyObject* sql, std::size_t max_cacheable);
/// The next look-up makes a new one (unless somebody already did).
void retire_statement(PyStatement& statement);
bool replace_statement(PyStatement& statement);

enum class RowError { none, malformed, python };
/// A new record, or nullptr: malformed bytes (no exception set) or a decoder's exception.
PyObject* decode_row(const PyStatement& s, PyTypeObject* type, std::string_view body, RowError& error);
PyObject* decode_row_tuple(const PyStatement& s, std::string_view body, RowError& error);
PyObject* decode_column(const PyStatement& s, std::size_t column, std::string_view body, RowError& error);

bool init_statement();

}  // namespace fasterapi::pg::py
