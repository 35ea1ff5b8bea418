#pragma once
// RFC 3339 text of datetime, date and time, in orjson's form. Needs PyDateTime_IMPORT in the including file.
#include <Python.h>
// datetime.h defines a static API pointer: one copy per file that includes this header.
#include <datetime.h>

#include <cstdint>

#include "json.hpp"
#include "json_numbers.hpp"
#include "json_ref.hpp"

namespace fasterapi::core::py {

inline constexpr std::size_t kDateTimeText = 40;

inline char* put_two(char* at, int value) noexcept {
  std::memcpy(at, json::detail::kPairs + 2 * value, 2);
  return at + 2;
}

inline char* put_date(char* at, PyObject* date) noexcept {
  const int year = PyDateTime_GET_YEAR(date);
  at = put_two(put_two(at, year / 100), year % 100);
  *at++ = '-';
  at = put_two(at, PyDateTime_GET_MONTH(date));
  *at++ = '-';
  return put_two(at, PyDateTime_GET_DAY(date));
}

inline char* put_clock(char* at, int hour, int minute, int second, int microsecond) noexcept {
  at = put_two(at, hour);
  *at++ = ':';
  at = put_two(at, minute);
  *at++ = ':';
  at = put_two(at, second);
  if (microsecond != 0) {
    *at++ = '.';
    at = put_two(put_two(put_two(at, microsecond / 10000), microsecond / 100 % 100), microsecond % 100);
  }
  return at;
}

/// "+HH:MM" or "Z" for the zone of `object`; nothing for a naive one unless kJsonNaiveUtc. nullptr: exception.
inline char* put_offset(char* at, PyObject* object, PyObject* zone, std::uint32_t options) {
  long seconds = 0;
  if (zone == Py_None) {
    if (!(options & kJsonNaiveUtc)) return at;
  } else if (zone != PyDateTime_TimeZone_UTC) {
    Ref offset(PyObject_CallMethod(object, "utcoffset", nullptr));
    if (!offset) return nullptr;
    if (offset.get() == Py_None) return at;
    if (!PyDelta_Check(offset.get())) {
      PyErr_SetString(PyExc_TypeError, "utcoffset() must return a timedelta or None");
      return nullptr;
    }
    seconds = PyDateTime_DELTA_GET_DAYS(offset.get()) * 86400L + PyDateTime_DELTA_GET_SECONDS(offset.get());
  }
  if (seconds == 0 && (options & kJsonUtcZ)) {
    *at++ = 'Z';
    return at;
  }
  *at++ = seconds < 0 ? '-' : '+';
  if (seconds < 0) seconds = -seconds;
  const long minutes = (seconds + 30) / 60;  // RFC 3339 offsets have no seconds (old local mean times do)
  at = put_two(at, static_cast<int>(minutes / 60 % 100));
  *at++ = ':';
  return put_two(at, static_cast<int>(minutes % 60));
}

/// `object` is a datetime, date or time. Writes at most kDateTimeText bytes without quotes.
inline char* put_datetime(char* at, PyObject* object, std::uint32_t options) {
  const bool omit = (options & kJsonOmitMicroseconds) != 0;
  if (PyDateTime_Check(object)) {
    at = put_date(at, object);
    *at++ = 'T';
    at = put_clock(at, PyDateTime_DATE_GET_HOUR(object), PyDateTime_DATE_GET_MINUTE(object),
                   PyDateTime_DATE_GET_SECOND(object), omit ? 0 : PyDateTime_DATE_GET_MICROSECOND(object));
    return put_offset(at, object, PyDateTime_DATE_GET_TZINFO(object), options);
  }
  if (PyDate_Check(object)) return put_date(at, object);
  at = put_clock(at, PyDateTime_TIME_GET_HOUR(object), PyDateTime_TIME_GET_MINUTE(object),
                 PyDateTime_TIME_GET_SECOND(object), omit ? 0 : PyDateTime_TIME_GET_MICROSECOND(object));
  PyObject* zone = PyDateTime_TIME_GET_TZINFO(object);
  return zone == Py_None ? at : put_offset(at, object, zone, options);
}

}  // namespace fasterapi::core::py
