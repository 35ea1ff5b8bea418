// Endpoints of mode "thread": run in the server's bounded pool, in a copy of the caller's context; the answer goes
// back to the loop's thread. A thread cannot be cancelled, so a half-closed client still gets its answer.
#include <memory>

#include "plan.hpp"

namespace fasterapi::http::py {

struct ThreadJob {
  Plan* plan;
  Transaction* tx;
  core::Reactor* reactor;
  Ref server;  // keeps plan and transaction
  Ref loop;    // keeps the reactor
  Ref endpoint, context, request, injected, result, exception;
  std::vector<Ref> args;

  /// On the loop's thread, GIL held.
  void finish() {
    PyServer& owner = plan->owner_;
    --owner.threads_running;
    reactor->foreign_work(-1);
    if (exception) {
      answer_exception(owner, *tx, request.get(), exception.get());
    } else if (!plan->answer(*tx, result.get(), injected.get())) {
      answer_raised(owner, *tx, request.get());
    }
    request.reset();
    tx->release();
    tx = nullptr;
  }

  /// On the pool's thread, GIL held.
  void run() {
    std::vector<PyObject*> raw(args.size() + 1);
    for (std::size_t i = 0; i < args.size(); ++i) raw[i + 1] = args[i].get();
    if (PyContext_Enter(context.get()) == 0) {
      result.reset(PyObject_Vectorcall(endpoint.get(), raw.data() + 1,
                                       args.size() | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr));
      if (!result) exception.reset(core::py::take_exception());
      if (PyContext_Exit(context.get()) < 0) PyErr_Clear();
    } else {
      exception.reset(core::py::take_exception());
    }
    args.clear();
  }
};

namespace {

constexpr char kJobCapsule[] = "fasterapi_http.ThreadJob";
using JobPointer = std::shared_ptr<ThreadJob>;

void job_capsule_free(PyObject* capsule) {
  delete static_cast<JobPointer*>(PyCapsule_GetPointer(capsule, kJobCapsule));
}

PyObject* run_job(PyObject* capsule, PyObject*) {
  auto* pointer = static_cast<JobPointer*>(PyCapsule_GetPointer(capsule, kJobCapsule));
  if (!pointer) return nullptr;
  JobPointer job = *pointer;
  job->run();
  core::Reactor* reactor = job->reactor;
  reactor->post([job = std::move(job)] { job->finish(); });
  Py_RETURN_NONE;
}
PyMethodDef run_job_def = {"run_job", run_job, METH_NOARGS, nullptr};

}  // namespace

void Plan::run_thread(Transaction& tx, PyObject** args, PyObject* request, PyObject* injected) noexcept {
  auto drop = [&] {
    for (std::size_t i = 0; i < args_.size(); ++i) Py_DECREF(args[i]);
    Py_XDECREF(injected);
  };
  try {
    auto job = std::make_shared<ThreadJob>();
    job->plan = this;
    job->tx = &tx;
    job->reactor = &owner_.server.reactor();
    job->server = Ref::borrow(owner_.self);
    job->loop = Ref::borrow(core::py::api->current_loop());
    job->endpoint = Ref::borrow(endpoint_.get());
    job->context = Ref(PyContext_CopyCurrent());
    job->args.reserve(args_.size());
    for (std::size_t i = 0; i < args_.size(); ++i) job->args.emplace_back(Py_NewRef(args[i]));
    job->request = Ref(Py_XNewRef(request));
    job->injected = Ref(Py_XNewRef(injected));
    if (!owner_.executor) owner_.executor = Ref(PyObject_CallNoArgs(python.make_executor));
    Ref capsule(PyCapsule_New(new JobPointer(job), kJobCapsule, job_capsule_free));
    Ref function(capsule ? PyCFunction_New(&run_job_def, capsule.get()) : nullptr);
    Ref submitted;
    if (function && job->loop && job->context && owner_.executor)
      submitted.reset(PyObject_CallMethod(owner_.executor.get(), "submit", "O", function.get()));
    if (!submitted) {
      answer_raised(owner_, tx, request);
    } else {
      // What the handler can see must be ours before its thread gets the GIL, and it holds no reference itself.
      tx.own();
      tx.retain();
      tx.tolerate_half_close();
      ++owner_.threads_running;
      job->reactor->foreign_work(1);
    }
  } catch (const std::bad_alloc&) {
    tx.abort();
  }
  drop();
  Py_XDECREF(request);
}

}  // namespace fasterapi::http::py
