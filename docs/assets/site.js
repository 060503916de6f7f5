// What scrolls can be reached by the keyboard.
const reach = () => document.querySelectorAll("pre > code, .md-typeset__scrollwrap").forEach(each => {
  if (each.scrollWidth > each.clientWidth) each.tabIndex = 0
  else each.removeAttribute("tabindex")
})
addEventListener("load", () => new ResizeObserver(reach).observe(document.body))
