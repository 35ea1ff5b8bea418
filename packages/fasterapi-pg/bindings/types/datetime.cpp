// date, time, timetz, timestamp, timestamptz, interval.
//
// Infinity: the server's infinity becomes date.max, datetime.max and so on, the very objects; and only those very
// objects are sent as infinity. An equal date that was made otherwise is the real 9999-12-31, in both directions.
#include "types/scalar.hpp"

#include <datetime.h>

#include "protocol/wire.hpp"
#include "types/calendar.hpp"

namespace fasterapi::pg::py {
namespace {

PyObject *g_date_max, *g_date_min, *g_datetime_max, *g_datetime_min, *g_astimezone, *g_utcoffset, *g_utc;
PyObject *s_days, *s_seconds, *s_microseconds;

PyObject* not_representable(const Type& type) {
  PyErr_Format(errors.data, "%s is outside the years 1 to 9999 of Python's datetime", type.name.c_str());
  return nullptr;
}

template <class Put>
bool eight(OutBuffer& out, Put put) {
  char* p = wire::put32(out.reserve(12), 8);
  put(p);
  out.commit(p + 8);
  return true;
}

std::int64_t time_micros(int hour, int minute, int second, int micro) noexcept {
  return ((hour * 60 + minute) * 60LL + second) * 1'000'000 + micro;
}

std::int64_t datetime_micros(PyObject* v) noexcept {
  std::int64_t days = days_from_civil(PyDateTime_GET_YEAR(v), PyDateTime_GET_MONTH(v), PyDateTime_GET_DAY(v));
  return days * kMicrosPerDay + time_micros(PyDateTime_DATE_GET_HOUR(v), PyDateTime_DATE_GET_MINUTE(v),
                                            PyDateTime_DATE_GET_SECOND(v), PyDateTime_DATE_GET_MICROSECOND(v));
}

/// UTC offset of a time or datetime in microseconds; false with an exception. `naive` when it has none.
bool utc_offset(PyObject* v, std::int64_t& micros, bool& naive) {
  micros = 0;
  Ref offset(PyObject_CallMethodNoArgs(v, g_utcoffset));
  if (!offset) return false;
  naive = offset.get() == Py_None;
  if (naive) return true;
  if (!PyDelta_Check(offset.get())) {
    PyErr_SetString(PyExc_TypeError, "utcoffset() must return a timedelta");
    return false;
  }
  micros = (PyDateTime_DELTA_GET_DAYS(offset.get()) * 86400LL + PyDateTime_DELTA_GET_SECONDS(offset.get())) *
               1'000'000 +
           PyDateTime_DELTA_GET_MICROSECONDS(offset.get());
  return true;
}

PyObject* make_datetime(const Type& t, std::int64_t micros, PyObject* tz) {
  if (micros == kTimestampInfinity) return Py_NewRef(g_datetime_max);
  if (micros == kTimestampMinusInfinity) return Py_NewRef(g_datetime_min);
  std::int64_t days, rest;
  split_timestamp(micros, days, rest);
  if (days < kMinDay || days > kMaxDay) return not_representable(t);
  CivilDate d = civil_from_days(days);
  int seconds = static_cast<int>(rest / 1'000'000);
  return PyDateTimeAPI->DateTime_FromDateAndTime(
      static_cast<int>(d.year), d.month, d.day, seconds / 3600, seconds / 60 % 60, seconds % 60,
      static_cast<int>(rest % 1'000'000), tz, PyDateTimeAPI->DateTimeType);
}

}  // namespace

PyObject* decode_date(const Type& t, const char* p, std::int32_t n) {
  if (n != 4) return malformed(t);
  auto days = static_cast<std::int32_t>(wire::get32(p));
  if (days == kDateInfinity) return Py_NewRef(g_date_max);
  if (days == kDateMinusInfinity) return Py_NewRef(g_date_min);
  if (days < kMinDay || days > kMaxDay) return not_representable(t);
  CivilDate d = civil_from_days(days);
  return PyDate_FromDate(static_cast<int>(d.year), d.month, d.day);
}

bool encode_date(const Type&, PyObject* v, OutBuffer& out) {
  std::int32_t days;
  if (v == g_date_max || v == g_datetime_max) {
    days = kDateInfinity;
  } else if (v == g_date_min || v == g_datetime_min) {
    days = kDateMinusInfinity;
  } else if (PyDate_Check(v)) {
    days = static_cast<std::int32_t>(
        days_from_civil(PyDateTime_GET_YEAR(v), PyDateTime_GET_MONTH(v), PyDateTime_GET_DAY(v)));
  } else {
    PyErr_Format(PyExc_AttributeError, "'%s' object has no attribute 'toordinal'", Py_TYPE(v)->tp_name);
    return false;
  }
  char* p = wire::put32(out.reserve(8), 4);
  out.commit(wire::put32(p, static_cast<std::uint32_t>(days)));
  return true;
}

PyObject* decode_time(const Type& t, const char* p, std::int32_t n) {
  if (n != 8) return malformed(t);
  auto micros = static_cast<std::int64_t>(wire::get64(p));
  if (micros < 0 || micros > kMicrosPerDay) return malformed(t);
  int seconds = static_cast<int>(micros / 1'000'000);
  return PyTime_FromTime(seconds / 3600, seconds / 60 % 60, seconds % 60, static_cast<int>(micros % 1'000'000));
}

bool encode_time(const Type&, PyObject* v, OutBuffer& out) {
  if (!PyTime_Check(v)) {
    PyErr_Format(PyExc_AttributeError, "'%s' object has no attribute 'hour'", Py_TYPE(v)->tp_name);
    return false;
  }
  std::int64_t micros = time_micros(PyDateTime_TIME_GET_HOUR(v), PyDateTime_TIME_GET_MINUTE(v),
                                    PyDateTime_TIME_GET_SECOND(v), PyDateTime_TIME_GET_MICROSECOND(v));
  return eight(out, [&](char* p) { wire::put64(p, static_cast<std::uint64_t>(micros)); });
}

PyObject* decode_timetz(const Type& t, const char* p, std::int32_t n) {
  if (n != 12) return malformed(t);
  auto micros = static_cast<std::int64_t>(wire::get64(p));
  auto west = static_cast<std::int32_t>(wire::get32(p + 8));  // seconds west of Greenwich
  if (micros < 0 || micros > kMicrosPerDay || west <= -86400 || west >= 86400) return malformed(t);
  Ref delta(PyDelta_FromDSU(0, -west, 0));
  Ref zone(delta ? PyTimeZone_FromOffset(delta.get()) : nullptr);
  int seconds = static_cast<int>(micros / 1'000'000);
  return zone ? PyDateTimeAPI->Time_FromTime(seconds / 3600, seconds / 60 % 60, seconds % 60,
                                             static_cast<int>(micros % 1'000'000), zone.get(),
                                             PyDateTimeAPI->TimeType)
              : nullptr;
}

bool encode_timetz(const Type&, PyObject* v, OutBuffer& out) {
  std::int64_t offset;
  bool naive;
  if (!PyTime_Check(v)) {
    PyErr_Format(PyExc_AttributeError, "'%s' object has no attribute 'hour'", Py_TYPE(v)->tp_name);
    return false;
  }
  if (!utc_offset(v, offset, naive)) return false;
  std::int64_t micros = time_micros(PyDateTime_TIME_GET_HOUR(v), PyDateTime_TIME_GET_MINUTE(v),
                                    PyDateTime_TIME_GET_SECOND(v), PyDateTime_TIME_GET_MICROSECOND(v));
  char* p = wire::put32(out.reserve(16), 12);
  p = wire::put64(p, static_cast<std::uint64_t>(micros));
  out.commit(wire::put32(p, static_cast<std::uint32_t>(-(offset / 1'000'000))));
  return true;
}

PyObject* decode_timestamp(const Type& t, const char* p, std::int32_t n) {
  return n == 8 ? make_datetime(t, static_cast<std::int64_t>(wire::get64(p)), Py_None) : malformed(t);
}
PyObject* decode_timestamptz(const Type& t, const char* p, std::int32_t n) {
  return n == 8 ? make_datetime(t, static_cast<std::int64_t>(wire::get64(p)), g_utc) : malformed(t);
}

bool encode_timestamp(const Type&, PyObject* v, OutBuffer& out) {
  std::int64_t micros;
  if (v == g_datetime_max || v == g_date_max) {
    micros = kTimestampInfinity;
  } else if (v == g_datetime_min || v == g_date_min) {
    micros = kTimestampMinusInfinity;
  } else if (PyDateTime_Check(v)) {
    if (PyDateTime_DATE_GET_TZINFO(v) != Py_None) {
      PyErr_SetString(PyExc_TypeError, "can't subtract offset-naive and offset-aware datetimes");
      return false;
    }
    micros = datetime_micros(v);
  } else if (PyDate_Check(v)) {
    micros =
        days_from_civil(PyDateTime_GET_YEAR(v), PyDateTime_GET_MONTH(v), PyDateTime_GET_DAY(v)) * kMicrosPerDay;
  } else {
    PyErr_Format(PyExc_TypeError, "expected a datetime.date or datetime.datetime instance, got '%s'",
                 Py_TYPE(v)->tp_name);
    return false;
  }
  return eight(out, [&](char* p) { wire::put64(p, static_cast<std::uint64_t>(micros)); });
}

bool encode_timestamptz(const Type&, PyObject* v, OutBuffer& out) {
  std::int64_t micros;
  if (v == g_datetime_max || v == g_date_max) {
    micros = kTimestampInfinity;
  } else if (v == g_datetime_min || v == g_date_min) {
    micros = kTimestampMinusInfinity;
  } else if (PyDate_Check(v)) {
    Ref aware = Ref::borrow(v);
    if (!PyDateTime_Check(v)) {  // a date: midnight, local time, like a naive datetime
      aware = Ref(PyDateTime_FromDateAndTime(PyDateTime_GET_YEAR(v), PyDateTime_GET_MONTH(v),
                                             PyDateTime_GET_DAY(v), 0, 0, 0, 0));
      if (!aware) return false;
    }
    std::int64_t offset = 0;
    PyObject* tz = PyDateTime_DATE_GET_TZINFO(aware.get());
    if (tz != g_utc) {
      bool naive;
      if (!utc_offset(aware.get(), offset, naive)) return false;
      if (naive) {
        aware = Ref(PyObject_CallMethodOneArg(aware.get(), g_astimezone, g_utc));
        if (!aware) return false;
      }
    }
    micros = datetime_micros(aware.get()) - offset;
  } else {
    PyErr_Format(PyExc_TypeError, "expected a datetime.date or datetime.datetime instance, got '%s'",
                 Py_TYPE(v)->tp_name);
    return false;
  }
  return eight(out, [&](char* p) { wire::put64(p, static_cast<std::uint64_t>(micros)); });
}

// A timedelta has no months: a month counts as 30 days and a year as 365, as asyncpg has it.
PyObject* decode_interval(const Type& t, const char* p, std::int32_t n) {
  if (n != 16) return malformed(t);
  auto micros = static_cast<std::int64_t>(wire::get64(p));
  auto days = static_cast<std::int32_t>(wire::get32(p + 8));
  auto months = static_cast<std::int32_t>(wire::get32(p + 12));
  std::int64_t total = std::int64_t{days} + (months / 12) * 365LL + (months % 12) * 30LL;
  std::int64_t whole = micros / kMicrosPerDay, rest = micros % kMicrosPerDay;
  total += whole;
  if (total < -999999999 || total > 999999999) return not_representable(t);
  return PyDelta_FromDSU(static_cast<int>(total), static_cast<int>(rest / 1'000'000),
                         static_cast<int>(rest % 1'000'000));
}

bool encode_interval(const Type&, PyObject* v, OutBuffer& out) {
  std::int64_t days, seconds, micros;
  if (PyDelta_Check(v)) {
    days = PyDateTime_DELTA_GET_DAYS(v);
    seconds = PyDateTime_DELTA_GET_SECONDS(v);
    micros = PyDateTime_DELTA_GET_MICROSECONDS(v);
  } else {
    Ref d(PyObject_GetAttr(v, s_days));
    Ref s(d ? PyObject_GetAttr(v, s_seconds) : nullptr);
    Ref u(s ? PyObject_GetAttr(v, s_microseconds) : nullptr);
    if (!u) return false;
    days = PyLong_AsLongLong(d.get());
    seconds = PyLong_AsLongLong(s.get());
    micros = PyLong_AsLongLong(u.get());
    if (PyErr_Occurred()) return false;
  }
  char* p = wire::put32(out.reserve(20), 16);
  p = wire::put64(p, static_cast<std::uint64_t>(seconds * 1'000'000 + micros));
  p = wire::put32(p, static_cast<std::uint32_t>(days));
  out.commit(wire::put32(p, 0));
  return true;
}

bool init_datetime() {
  PyDateTime_IMPORT;
  if (!PyDateTimeAPI) return false;
  auto* date = reinterpret_cast<PyObject*>(PyDateTimeAPI->DateType);
  auto* datetime = reinterpret_cast<PyObject*>(PyDateTimeAPI->DateTimeType);
  g_date_max = PyObject_GetAttrString(date, "max");
  g_date_min = PyObject_GetAttrString(date, "min");
  g_datetime_max = PyObject_GetAttrString(datetime, "max");
  g_datetime_min = PyObject_GetAttrString(datetime, "min");
  g_astimezone = PyUnicode_InternFromString("astimezone");
  g_utcoffset = PyUnicode_InternFromString("utcoffset");
  s_days = PyUnicode_InternFromString("days");
  s_seconds = PyUnicode_InternFromString("seconds");
  s_microseconds = PyUnicode_InternFromString("microseconds");
  g_utc = PyDateTime_TimeZone_UTC;
  return g_date_max && g_date_min && g_datetime_max && g_datetime_min && s_microseconds;
}

}  // namespace fasterapi::pg::py
