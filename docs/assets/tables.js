// Tables that are wider than the page are scrolled by the keyboard too: Material puts them into a box that takes no focus.
document$.subscribe(() => {
  for (const box of document.querySelectorAll(".md-typeset__scrollwrap")) {
    box.tabIndex = 0
    box.setAttribute("role", "region")
    box.setAttribute("aria-label", "Table")
  }
})
