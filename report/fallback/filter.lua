-- What Quarto does with report.qmd, for machines without Quarto: callouts, numbered sections,
-- figures and tables, cross-references. What it does not know is an error.

local stringify = pandoc.utils.stringify

-- Several attributes are given as a list: by name they have no order, and the page would differ
-- from run to run.

local function fail(message, hint)
  io.stderr:write("report: " .. message .. "\nhint: " .. hint .. "\n")
  os.exit(1)
end

-- No cell is ever executed --------------------------------------------------------------------

local function cell(text)
  if text:match("^{%a[%w_]*[%s,}]") then
    fail("an executable cell: " .. text:sub(1, 40), "numbers come from fragments, never from cells")
  end
end

local NO_CELLS = {
  Code = function(el)
    cell(el.text)
  end,
  CodeBlock = function(el)
    for _, class in ipairs(el.classes) do
      cell(class)
    end
  end,
}

-- Callouts ------------------------------------------------------------------------------------

local CALLOUTS = {
  note = "Note",
  tip = "Tip",
  warning = "Warning",
  important = "Important",
  caution = "Caution",
}

local function callout(div)
  for kind, name in pairs(CALLOUTS) do
    if div.classes:includes("callout-" .. kind) then
      local title = div.attributes.title or name
      local heading = pandoc.Div(pandoc.Plain(title), { class = "callout-title" })
      div.content:insert(1, heading)
      local classes = { "callout", "callout-is-" .. kind }
      local attributes = { { "role", "note" }, { "aria-label", title } }
      return pandoc.Div(div.content, pandoc.Attr("", classes, attributes))
    end
  end
end

-- Numbers and references ----------------------------------------------------------------------

local NAMES = { fig = "Figure", tbl = "Table", sec = "Section" }
local labels, counts, sections = {}, { fig = 0, tbl = 0 }, {}

local function define(kind, id, number)
  if labels[id] then
    fail("the label " .. id .. " stands twice", "each figure, table and section has its own")
  end
  labels[id] = { name = NAMES[kind], number = number }
end

local function count(kind, id)
  counts[kind] = counts[kind] + 1
  define(kind, id, tostring(counts[kind]))
  return NAMES[kind] .. " " .. counts[kind] .. ": "
end

-- The title is the page's only heading of level 1.
local function section(header)
  header.level = header.level + 1
  if header.classes:includes("unnumbered") or header.level > 2 then
    return header
  end
  sections[1] = (sections[1] or 0) + 1
  local number = tostring(sections[1])
  if header.identifier:match("^sec%-") then
    define("sec", header.identifier, number)
  end
  header.content:insert(1, pandoc.Space())
  header.content:insert(1, pandoc.Span(number, { class = "header-section-number" }))
  return header
end

local function image(id)
  return function(img)
    local alt = img.attributes["fig-alt"]
    if not alt or alt == "" then
      fail("a picture of " .. id .. " has no fig-alt", "say in words what the picture shows")
    end
    img.attributes["fig-alt"] = nil
    img.caption = pandoc.Inlines(alt)
    return img
  end
end

local function figure(div)
  if not div.identifier:match("^fig%-") then
    return nil
  end
  local caption = div.content:remove()
  local pictured = false
  if caption then
    caption:walk({ Image = function() pictured = true end })
  end
  if not caption or caption.t ~= "Para" or pictured then
    fail(div.identifier .. " has no caption", "its last paragraph is its caption")
  end
  local content = div.content:walk({ Image = image(div.identifier) })
  caption.content:insert(1, pandoc.Str(count("fig", div.identifier)))
  return pandoc.Figure(content, { pandoc.Plain(caption.content) }, { id = div.identifier })
end

-- A table scrolls in a box of its own; who has no mouse reaches the box by keyboard.
local function tabular(tbl)
  local id = tbl.identifier
  if not id:match("^tbl%-") then
    fail("a table without a label: " .. stringify(tbl.caption.long), "its caption ends {#tbl-...}")
  end
  local words = pandoc.utils.blocks_to_inlines(tbl.caption.long)
  local caption = pandoc.Inlines(count("tbl", id)) .. words
  tbl.caption.long = { pandoc.Plain(pandoc.Span(caption)) }
  local name = { "aria-label", stringify(caption) }
  local attributes = { { "role", "region" }, { "tabindex", "0" }, name }
  return pandoc.Div(tbl, pandoc.Attr("", { "scroll" }, attributes))
end

local function reference(cite)
  local out = pandoc.Inlines({})
  for i, citation in ipairs(cite.citations) do
    local label = labels[citation.id]
    if not label then
      fail("nothing has the label " .. citation.id, "references: @fig-..., @tbl-..., @sec-...")
    end
    if i > 1 then
      out:insert(pandoc.Str(", "))
    end
    out:insert(pandoc.Link(label.name .. "\u{a0}" .. label.number, "#" .. citation.id))
  end
  return out
end

function Pandoc(doc)
  doc = doc:walk(NO_CELLS)
  doc = doc:walk({ Div = callout })
  -- One pass in document order, so that numbers count up as one reads.
  doc = doc:walk({
    traverse = "topdown",
    Header = section,
    Div = function(div)
      local made = figure(div)
      if made then
        return made, false
      end
    end,
    Table = function(tbl)
      return tabular(tbl), false
    end,
  })
  return doc:walk({ Cite = reference })
end
