// SCRAM-SHA-256: the exchange of RFC 7677, and everything a hostile server may try.
#include "protocol/scram.hpp"

#include <gtest/gtest.h>

namespace fasterapi::pg {
namespace {

constexpr const char* kNonce = "rOprNGfwEbeRWgbNEkqO";
constexpr const char* kServerFirst =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
constexpr const char* kServerFinal = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

Scram rfc(std::shared_ptr<ScramKeyCache> cache = nullptr) {
  return Scram("pencil", Scram::Binding::unsupported, "", std::move(cache), "user", kNonce);
}

TEST(Scram, exchange_of_rfc_7677) {
  Scram s = rfc();
  EXPECT_STREQ(s.mechanism(), "SCRAM-SHA-256");
  EXPECT_EQ(s.client_first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
  ASSERT_TRUE(s.server_first(kServerFirst)) << s.error();
  ASSERT_TRUE(s.derive());
  EXPECT_EQ(s.client_final(),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
            "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
  EXPECT_FALSE(s.verified());
  ASSERT_TRUE(s.server_final(kServerFinal)) << s.error();
  EXPECT_TRUE(s.verified());
}

TEST(Scram, second_login_takes_the_keys_from_the_cache) {
  auto cache = std::make_shared<ScramKeyCache>();
  for (int i = 0; i < 2; ++i) {
    Scram s = rfc(cache);
    s.client_first();
    ASSERT_TRUE(s.server_first(kServerFirst));
    ASSERT_TRUE(s.derive());
    s.client_final();
    EXPECT_TRUE(s.server_final(kServerFinal));
  }
  Digest client, server;
  EXPECT_FALSE(cache->find("another", "salt", 4096, client, server));
}

TEST(Scram, channel_binding_data_is_part_of_the_proof) {
  Scram s("pencil", Scram::Binding::end_point, "hash", nullptr, "user", kNonce);
  EXPECT_STREQ(s.mechanism(), "SCRAM-SHA-256-PLUS");
  EXPECT_EQ(s.client_first(), "p=tls-server-end-point,,n=user,r=rOprNGfwEbeRWgbNEkqO");
  ASSERT_TRUE(s.server_first(kServerFirst));
  ASSERT_TRUE(s.derive());
  EXPECT_TRUE(s.client_final().starts_with("c=" + base64_encode("p=tls-server-end-point,,hash") + ",r="));
}

TEST(Scram, server_that_cannot_prove_itself_is_refused) {
  for (const char* final :
       {"v=AAAATRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", "v=", "v=AAAA", "", "e=invalid-proof", "x=1"}) {
    Scram s = rfc();
    s.client_first();
    ASSERT_TRUE(s.server_first(kServerFirst));
    ASSERT_TRUE(s.derive());
    s.client_final();
    EXPECT_FALSE(s.server_final(final)) << final;
    EXPECT_FALSE(s.verified());
  }
}

TEST(Scram, challenges_that_are_refused) {
  const std::string nonce = std::string("r=") + kNonce;
  for (const std::string& first : {
           std::string(),
           std::string("r="),
           nonce + ",s=AAAA,i=4096",  // nonce not extended
           std::string("r=other,s=AAAA,i=4096"),
           nonce + "x,s=,i=4096",
           nonce + "x,s=A,i=4096",
           nonce + "x,s=A!==,i=4096",
           nonce + "x,s=AAAA",
           nonce + "x,s=AAAA,i=",
           nonce + "x,s=AAAA,i=0",
           nonce + "x,s=AAAA,i=1",
           nonce + "x,s=AAAA,i=4095",
           nonce + "x,s=AAAA,i=600001",
           nonce + "x,s=AAAA,i=2147483647",
           nonce + "x,s=AAAA,i=99999999999",
           nonce + "x,s=AAAA,i=-1",
           nonce + "x,s=AAAA,i=4096x",
           "m=ext," + nonce + "x,s=AAAA,i=4096",
           nonce + std::string(5000, 'x') + ",s=AAAA,i=4096",
       }) {
    Scram s = rfc();
    s.client_first();
    EXPECT_FALSE(s.server_first(first)) << first.substr(0, 60);
    EXPECT_FALSE(s.error().empty());
  }
}

TEST(Scram, steps_out_of_order_are_refused) {
  Scram a = rfc();
  EXPECT_FALSE(a.server_first(kServerFirst));
  Scram b = rfc();
  b.client_first();
  EXPECT_FALSE(b.server_final(kServerFinal));
  Scram c = rfc();
  c.client_first();
  EXPECT_TRUE(c.server_first(kServerFirst));
  EXPECT_FALSE(c.server_first(kServerFirst));
  Scram d = rfc();
  d.client_first();
  EXPECT_EQ(d.client_final(), "");
}

TEST(Scram, nonces_differ) {
  Scram a("p", Scram::Binding::unsupported, "", nullptr), b("p", Scram::Binding::unsupported, "", nullptr);
  EXPECT_NE(a.client_first(), b.client_first());
}

TEST(Md5, answer) {
  EXPECT_EQ(md5_password("user", "secret", "\x01\x02\x03\x04"), "md5fccef98e4f1cf6cbe96b743fad4e8bd0");
}

TEST(Base64, round_trip_and_refusals) {
  for (std::size_t n = 0; n < 50; ++n) {
    std::string data(n, static_cast<char>(n * 7)), back;
    std::string text = base64_encode(data);
    if (n == 0) continue;
    ASSERT_TRUE(base64_decode(text, back));
    EXPECT_EQ(back, data);
  }
  std::string out;
  for (const char* bad : {"", "A", "AA", "AAA", "A===", "AA=A", "AA A", "AAAA\n", "A*AA", "===="}) {
    EXPECT_FALSE(base64_decode(bad, out)) << bad;
  }
}

}  // namespace
}  // namespace fasterapi::pg
